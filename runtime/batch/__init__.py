"""Many photos, unattended: `inputs` finds them, `plan` says where results go, `work` restores one, `flight` several
side by side, and `notes` remembers what was made from what, so that nothing is done twice or lost.
"""
