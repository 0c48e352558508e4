package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const (
	closeLimit    = 5 * time.Second
	leftoverLimit = 2 * time.Second
)

// Leftovers are what a closed client has left behind.
type Leftovers struct {
	Goroutines int
	Sockets    int           // negative where they cannot be counted
	Close      time.Duration // how long Close took
	Hangs      bool          // Close had not returned within its limit
}

// usage is what a process uses.
type usage struct{ goroutines, sockets int }

func currentUsage() usage { return usage{runtime.NumGoroutine(), openSockets()} }

// leftoversOf closes the client and compares with the usage before it was opened, giving what ends
// a moment after Close that moment.
func leftoversOf(c client, before usage) Leftovers {
	began := time.Now()
	closed := make(chan struct{})
	go func() { c.Close(); close(closed) }()
	var l Leftovers
	select {
	case <-closed:
	case <-time.After(closeLimit):
		l.Hangs = true
	}
	l.Close = time.Since(began)
	for end := time.Now().Add(leftoverLimit); ; time.Sleep(10 * time.Millisecond) {
		now := currentUsage()
		l.Goroutines, l.Sockets = now.goroutines-before.goroutines, now.sockets-before.sockets
		if l.Goroutines <= 0 && l.Sockets <= 0 || time.Now().After(end) {
			return l
		}
	}
}

// openSockets counts the sockets of this process, or returns -1 where the system does not list
// them.
func openSockets() int {
	names, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(names) == 0 {
		return -1
	}
	n := 0
	for _, name := range names {
		if target, err := os.Readlink(name); err == nil && strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}
