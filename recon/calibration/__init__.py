"""From photographs without cameras and masks to a scene."""

from recon.calibration.bundle import BundleSettings as BundleSettings
from recon.calibration.landmarks import LandmarkModel as LandmarkModel
from recon.calibration.observing import ObservedPhotograph as ObservedPhotograph
from recon.calibration.photographs import SHEET as SHEET
from recon.calibration.photographs import CalibratedScene as CalibratedScene
from recon.calibration.photographs import PhotographReport as PhotographReport
from recon.calibration.photographs import is_calibrated as is_calibrated
from recon.calibration.photographs import read_pose as read_pose
from recon.calibration.photographs import scene_from_photographs as scene_from_photographs
