"""The networks that test/tools/social_server speaks for; README.md says how to script them."""
