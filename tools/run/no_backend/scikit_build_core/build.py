"""Stands in for a build backend (PEP 517) and builds nothing; see tools/run/xgrammar.sh."""

import os
import re


def get_requires_for_build_wheel(config_settings=None):
    return []


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    # Called in the unpacked source distribution, whose PKG-INFO is its metadata.
    with open("PKG-INFO", encoding="utf-8") as file:
        metadata = file.read()
    name = re.search(r"^Name: (\S+)$", metadata, re.MULTILINE).group(1)
    version = re.search(r"^Version: (\S+)$", metadata, re.MULTILINE).group(1)
    folder = f"{name}-{version}.dist-info"
    os.makedirs(os.path.join(metadata_directory, folder))
    with open(os.path.join(metadata_directory, folder, "METADATA"), "w", encoding="utf-8") as file:
        file.write(metadata)
    return folder
