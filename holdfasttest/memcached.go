package holdfasttest

import (
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

// TB is the part of testing.TB that this package uses.
type TB interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(f func())
}

// Memcached is a memcached in this process. It speaks the text protocol without the meta commands.
// StartMemcached makes one. It is safe for concurrent use.
type Memcached struct {
	tb   TB
	fake *testutil.Fake
}

// StartMemcached starts an empty server. It ends with the test.
func StartMemcached(tb TB) *Memcached {
	tb.Helper()
	return &Memcached{tb, testutil.StartFake(tb)}
}

// Addr returns its address, host:port, for a client. It stays the same.
func (m *Memcached) Addr() string { return m.fake.Addr() }

// Kill ends it as kill -9 would: connections break, new ones are refused, its items are gone.
func (m *Memcached) Kill() { m.tb.Helper(); m.must("kill", m.fake.Kill()) }

// Restart starts it again at its address, empty.
func (m *Memcached) Restart() { m.tb.Helper(); m.must("restart", m.fake.Restart()) }

// Hang makes it accept connections and requests, and answer nothing.
func (m *Memcached) Hang() { m.tb.Helper(); m.must("hang", m.fake.Hang()) }

// Release ends a Hang: it answers the requests that have come meanwhile, and goes on.
func (m *Memcached) Release() { m.tb.Helper(); m.must("release", m.fake.Release()) }

// Slow makes every answer take as long.
func (m *Memcached) Slow(d time.Duration) { m.fake.SetFault(testutil.Always(testutil.DelayReply(d))) }

// Fail makes it answer every command with SERVER_ERROR and a text, such as "out of memory storing
// object".
func (m *Memcached) Fail(text string) {
	m.fake.SetFault(testutil.Always(testutil.ServerError(text)))
}

// Heal ends Slow and Fail.
func (m *Memcached) Heal() { m.fake.SetFault(nil) }

func (m *Memcached) must(what string, err error) {
	m.tb.Helper()
	if err != nil {
		m.tb.Fatalf("holdfasttest: memcached at %s: %s: %v", m.fake.Addr(), what, err)
	}
}
