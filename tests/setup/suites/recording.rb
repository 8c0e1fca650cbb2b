# frozen_string_literal: true

# Writes one line of JSON for each test to $SUITE_RESULTS, for Minitest (`ruby -r .../recording`).

require "json"
require "minitest"
require "timeout"

module Recording
  SECONDS_MAX = Integer(ENV.fetch("SUITE_TEST_SECONDS", "180"))

  class Reporter < Minitest::AbstractReporter
    def record(result)
      outcome = result.passed? ? "passed" : result.skipped? ? "skipped" : "failed"
      text = result.failures.map { |failure| "#{failure.message}\n#{Array(failure.backtrace).first(12).join("\n")}" }.join("\n")
      line = JSON.generate({ test: "#{result.klass}##{result.name}", outcome: outcome, text: text.scrub.byteslice(0, 6000).scrub })
      File.open(ENV.fetch("SUITE_RESULTS"), "a") { |out| out.puts(line) }
    end
  end

  # A test that hangs is one that fails.
  module GivingUp
    def run
      Timeout.timeout(SECONDS_MAX, RuntimeError, "the test takes longer than #{SECONDS_MAX} s") { super }
    end
  end
end

module Minitest
  class << self
    def plugin_recording_init(_options)
      reporter << Recording::Reporter.new
    end
  end
end
Minitest.extensions << "recording"
Minitest::Test.prepend(Recording::GivingUp)
