package main

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/member"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

// The plain side of the sentinel drill may leave goroutines behind: radix's reader can wait for
// ever for a reply that was given up (radix#347). Ours have none of that name.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" || member.Is(os.Args[1:]) {
		main()
	}
	if err := testutil.SideBySide("3"); err != nil { // most of their time drills wait; nothing that they measure is judged here
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/mediocregopher/radix/v4/internal/proc.(*Proc).Run.func1"))
}
