package stampede_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/member"
)

func TestMain(m *testing.M) {
	if member.Is(os.Args[1:]) {
		fmt.Fprintln(os.Stderr, member.Run(os.Args[1:]))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}
