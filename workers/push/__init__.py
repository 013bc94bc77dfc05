"""The Push Service: what it consumes from `push.queue` it hands to FCM or OneSignal."""
