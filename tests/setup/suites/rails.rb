# frozen_string_literal: true

# The tests of ActiveRecord as its Rakefile collects them for PostgreSQL; the arguments are files instead of all of them.

chosen = ARGV.dup
ARGV.replace(["--seed", "1"])
adapters = Dir["test/cases/adapters/*/"] - ["test/cases/adapters/postgresql/"]
all = Dir["test/cases/**/*_test.rb"].reject { |file| adapters.any? { |adapter| file.start_with?(adapter) } }
require "cases/helper"
require "minitest/autorun"
(chosen.empty? ? all.sort : chosen.flat_map { |pattern| Dir[pattern].sort }).each do |file|
  require File.expand_path(file)
rescue LoadError => error
  # Some want the other parts of Rails.
  warn "without #{file}: #{error.message}"
end
