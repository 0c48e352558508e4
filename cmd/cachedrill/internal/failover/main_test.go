package failover_test

import (
	"testing"

	"go.uber.org/goleak"
)

// The plain side's connections may outlive their Close: radix's reader can wait for ever for a
// reply that was given up (radix#347). Ours have no goroutine of that name.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/mediocregopher/radix/v4/internal/proc.(*Proc).Run.func1"))
}
