package memcache_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestARestartNeedsNoDeletions: what a server missed before it began, empty, is not there; what it
// missed later may be, from others.
func TestARestartNeedsNoDeletions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what  string
		fault testutil.Chooser
		hang  bool
		want  int // deletions of the hundred keys missed before
	}{
		{"restarted", nil, false, 0},
		{"hung", nil, true, 100},
		{"restarted, and does not tell", testutil.OnVerbs(testutil.Garbage([]byte("ERROR\r\n")), "stats"), false, 100},
		{"a proxy that was restarted", testutil.OnVerbs(testutil.Garbage([]byte("STAT uptime 0\r\nEND\r\n")), "stats"), false, 100},
		{"a proxy that ends the connection", testutil.OnVerbs(testutil.CloseMidReply(0), "stats"), false, 100},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleetOf(t, newZipf(1), 1, testutil.FakeOptions{})
			p := f.newProcess(0, memcache.Options{})
			check(t, p.client.Ping())
			f.fakes[0].SetFault(tt.fault)
			if tt.hang {
				check(t, f.fakes[0].Hang())
			} else {
				check(t, f.fakes[0].Kill())
			}
			for i := range 100 {
				_ = p.client.Delete(fmt.Sprint("before", i))
			}
			time.Sleep(5 * time.Second)
			p.cut(0, true)
			if tt.hang {
				check(t, f.fakes[0].Release())
			} else {
				check(t, f.fakes[0].Restart())
			}
			time.Sleep(5 * time.Second)
			_ = p.client.Delete("after")
			p.cut(0, false)
			time.Sleep(5 * time.Second)
			check(t, p.client.Ping())
			before, after := make(map[string]bool), false
			for _, key := range f.fakes[0].Deleted() {
				if after = after || key == "after"; key != "after" {
					before[key] = true
				}
			}
			if len(before) != tt.want || !after {
				t.Errorf("%s: %d keys were deleted that were missed before, want %d; that missed after: %v", tt.what, len(before), tt.want, after)
			}
			check(t, p.client.Close())
		})
	}
}
