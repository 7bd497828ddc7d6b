"""From photographs without cameras and masks to a scene."""

from recon.calibration.bundle import BundleSettings as BundleSettings
from recon.calibration.landmarks import LandmarkModel as LandmarkModel
from recon.calibration.observing import ObservedPhotograph as ObservedPhotograph
from recon.calibration.photographs import SHEET as SHEET
from recon.calibration.photographs import scene_from_photographs as scene_from_photographs
from recon.calibration.report import CalibratedScene as CalibratedScene
from recon.calibration.report import PhotographReport as PhotographReport
from recon.calibration.report import is_calibrated as is_calibrated
from recon.calibration.report import photograph_names as photograph_names
from recon.calibration.report import read_pose as read_pose
from recon.calibration.report import say_warnings as say_warnings
