"""Writes one line of JSON for each test to $SUITE_RESULTS: for pytest (`-p recording`) and for Django's own runner."""

import json
import os
import signal
import traceback
import unittest

SECONDS_MAX = int(os.environ.get("SUITE_TEST_SECONDS", "180"))


def record(test, outcome, text=""):
    with open(os.environ["SUITE_RESULTS"], "a") as out:
        out.write(json.dumps({"test": test, "outcome": outcome, "text": text[-6000:]}) + "\n")


def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        record(report.nodeid, report.outcome, report.longreprtext)


def pytest_collectreport(report):
    if report.failed:
        record(report.nodeid, "failed", report.longreprtext)


class Result(unittest.TextTestResult):
    """A test that hangs is one that fails."""

    def startTest(self, test):
        super().startTest(test)

        def give_up(*_):
            raise TimeoutError(f"the test takes longer than {SECONDS_MAX} s")

        signal.signal(signal.SIGALRM, give_up)
        signal.alarm(SECONDS_MAX)
        self.outcome, self.text = "passed", ""

    def stopTest(self, test):
        signal.alarm(0)
        record(test.id(), self.outcome, self.text)
        super().stopTest(test)

    def _note(self, outcome, error):
        self.outcome, self.text = outcome, self.text + "".join(traceback.format_exception(*error))

    def addError(self, test, err):
        super().addError(test, err)
        self._note("failed", err)
        if not isinstance(test, unittest.TestCase):
            record(test.id(), "failed", self.text)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._note("failed", err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note("failed", err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.outcome = "skipped"

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.outcome = "skipped"


def runner():
    from django.test.runner import DiscoverRunner

    class Runner(DiscoverRunner):
        def get_resultclass(self):
            return Result

    return Runner


def __getattr__(name):
    # pytest must not need Django.
    if name == "Runner":
        return runner()
    raise AttributeError(name)
