"""The floor of the house: errors, the call protocol, configurations, files, prompts, bundles and the store."""
