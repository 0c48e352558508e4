package sentinel_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"
	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// side is how many tests run side by side that say they may: most of their time they wait for real
// sentinels.
const side = "6"

func TestMain(m *testing.M) {
	if err := testutil.SideBySide(side); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

const name = "mymaster"

const (
	// unhurried is the HeartbeatTimeout of tests that are not about silence: a server that a busy
	// machine lets stand still has not failed.
	unhurried = 10 * time.Second
	// hurried is that of tests in which a server falls silent: the default.
	hurried = 300 * time.Millisecond
)

// follow makes a client of a cluster, an unhurried one unless the options say otherwise.
func follow(t *testing.T, cluster *redis.Cluster, o sentinel.Options) *sentinel.Client {
	t.Helper()
	if o.HeartbeatTimeout == 0 {
		o.HeartbeatTimeout, o.DialTimeout = unhurried, cmp.Or(o.DialTimeout, unhurried)
	}
	if len(o.Names) == 0 {
		o.Names = []string{name}
	}
	c, err := sentinel.New(t.Context(), cluster.SentinelAddrs(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func set(ctx context.Context, c *sentinel.Client, key, value string) error {
	return c.Do(ctx, name, radix.Cmd(nil, "SET", key, value))
}

func get(ctx context.Context, c *sentinel.Client, key string) (string, error) {
	var value string
	err := c.Do(ctx, name, radix.Cmd(&value, "GET", key))
	return value, err
}

// replicate waits until a write has reached all replicas. In the first second after a replica's
// first synchronisation its primary holds back what it is to get, and a failover to that one would
// lose it whatever a client does: sentinels may choose it, as they know its offset of some time
// ago.
func replicate(t *testing.T, c *sentinel.Client) {
	t.Helper()
	err := c.Exclusive(t.Context(), name, func(conn radix.Conn) error {
		var info string
		var reached, replicas int
		if err := conn.Do(t.Context(), radix.Cmd(&info, "INFO", "replication")); err != nil {
			return err
		}
		_, rest, _ := strings.Cut(info, "connected_slaves:")
		if _, err := fmt.Sscan(rest, &replicas); err != nil || replicas == 0 {
			return fmt.Errorf("the primary knows no replicas: %q, %w", info, err)
		}
		if err := conn.Do(t.Context(), radix.Cmd(nil, "SET", "replicated", "1")); err != nil {
			return err
		}
		err := conn.Do(t.Context(), radix.Cmd(&reached, "WAIT", strconv.Itoa(replicas), "10000"))
		if err == nil && reached < replicas {
			err = fmt.Errorf("a write has reached %d of %d replicas within 10 s", reached, replicas)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition that must come true.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("after 20 s: not yet %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// ledger writes unique keys and remembers those that were acknowledged.
type ledger struct {
	client  *sentinel.Client
	writers sync.WaitGroup
	stop    context.CancelFunc

	mu      sync.Mutex
	acked   []string
	last    time.Time
	gap     time.Duration // the longest between two acknowledgements
	slowest time.Duration // of any call
	errs    map[string]int
	strange error // that is neither ErrNotSent nor ErrOutcomeUnknown
}

func startLedger(t *testing.T, c *sentinel.Client, writers int) *ledger {
	t.Helper()
	calls := context.Background() // without a deadline, and not ended by stop
	ctx, cancel := context.WithCancel(calls)
	l := &ledger{client: c, stop: cancel, last: time.Now(), errs: make(map[string]int)}
	var n atomic.Int64
	for range writers {
		l.writers.Go(func() {
			for ctx.Err() == nil {
				l.write(calls, fmt.Sprintf("ledger:%d", n.Add(1)))
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	t.Cleanup(func() { l.end() })
	return l
}

func (l *ledger) write(ctx context.Context, key string) {
	began := time.Now()
	err := set(ctx, l.client, key, "1")
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slowest = max(l.slowest, now.Sub(began))
	switch {
	case err == nil:
		l.acked = append(l.acked, key)
		l.gap, l.last = max(l.gap, now.Sub(l.last)), now
	case errors.Is(err, sentinel.ErrOutcomeUnknown):
		l.errs["unknown"]++
	case errors.Is(err, sentinel.ErrNoPrimary):
		l.errs["no primary"]++
	case errors.Is(err, sentinel.ErrNotSent):
		l.errs["not sent"]++
	default:
		l.strange = err
	}
}

func (l *ledger) end() {
	l.stop()
	l.writers.Wait()
}

// lost counts the acknowledged writes that the present primary does not have.
func (l *ledger) lost(t *testing.T) int {
	t.Helper()
	l.end()
	if l.strange != nil {
		t.Errorf("an error says neither that a write was not sent nor that its outcome is unknown: %v", l.strange)
	}
	lost := 0
	for keys := range slices.Chunk(l.acked, 500) {
		var values []string
		if err := l.client.Do(t.Context(), name, radix.Cmd(&values, "MGET", keys...)); err != nil || len(values) != len(keys) {
			t.Fatalf("reading %d keys back: %d values, %v", len(keys), len(values), err)
		}
		for _, value := range values {
			if value != "1" {
				lost++
			}
		}
	}
	t.Logf("%d acknowledged, %d lost, longest gap %v, slowest call %v, errors %v", len(l.acked), lost, l.gap.Round(time.Millisecond), l.slowest.Round(time.Millisecond), l.errs)
	return lost
}
