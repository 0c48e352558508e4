//go:build !linux

package main

import "time"

// cpu is not measured here.
func (b *bench) cpu() time.Duration { return 0 }
