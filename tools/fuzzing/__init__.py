"""A fuzzer of every parser of the project: mutations of small files, read in a child process with limits."""

from tools.fuzzing.campaign import Fault as Fault
from tools.fuzzing.campaign import Findings as Findings
from tools.fuzzing.campaign import fuzz as fuzz
from tools.fuzzing.mutations import mutated as mutated
from tools.fuzzing.parsers import PARSERS as PARSERS
from tools.fuzzing.parsers import Parser as Parser
