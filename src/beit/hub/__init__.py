"""Files that are not on this machine yet: the Hugging Face hub, and the release pages of the original authors."""

from beit.hub.download import fetch_url
from beit.hub.repository import DISK_FULL, HubOptions, hub_file, is_hub_name, push_folder

__all__ = ["DISK_FULL", "HubOptions", "fetch_url", "hub_file", "is_hub_name", "push_folder"]
