package memcachedstore

import (
	"errors"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

// Keys that were not deleted were said to be: a selector had ended the goroutine that was to do it.
func TestWorkThatEndsItsGoroutineHasFailed(t *testing.T) {
	begun := make(chan struct{})
	err := each(2, func(int) error {
		if strings.Contains(string(debug.Stack()), "testing.tRunner(") {
			<-begun
			return nil
		}
		close(begun)
		runtime.Goexit()
		return nil
	})
	if !errors.Is(err, errEnded) {
		t.Errorf("the error is %v, want %v", err, errEnded)
	}
}
