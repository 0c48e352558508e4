//go:build !linux

package matrix_test

import (
	"net"
	"testing"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

func fillUp(t *testing.T, _ net.Listener) []net.Conn {
	t.Helper()
	testutil.Lack(t, "how a system drops connections is known of Linux")
	return nil
}

func exhaust(t *testing.T) func() {
	t.Helper()
	testutil.Lack(t, "a limit of open files that holds at once is known of Linux")
	return nil
}

func limitMemory(t *testing.T, _ any) {
	t.Helper()
	testutil.Lack(t, "a limit that is set for another process is known of Linux")
}
