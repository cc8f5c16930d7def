"""The evaluation-and-training workflow: configuration, plan, steps.

Nothing outside `workflow.steps` imports torch when it is loaded.
"""
