package memcache_test

import "os"

// soak reports whether the long forms of tests are wanted (`make soak`).
func soak() bool { return os.Getenv("HOLDFAST_SOAK") == "1" }
