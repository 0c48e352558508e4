package failover

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
)

// errAbandoned is the error of a call that was left behind.
var errAbandoned = errors.New("the plain client did not return in time")

const (
	lookEach = 5 * time.Millisecond
	// leaveAfter is how long Close of the plain client may take: with connections to dead servers
	// it never returns.
	leaveAfter = 500 * time.Millisecond
)

// plain is radix's own Sentinel client. Its calls may never return, whatever their contexts say,
// and so may its constructor and its Close: each runs on a goroutine of its own that is left behind
// if need be, and ends with the program.
type plain struct {
	cluster Cluster
	life    atomic.Pointer[life]
}

// life is one run of the plain client, from a start of its application to the next.
type life struct {
	sentinel  *radix.Sentinel
	seen      atomic.Pointer[string] // the primary
	abandoned chan struct{}
	leaving   sync.Once

	mu    sync.Mutex
	calls map[int]time.Time // guarded by mu; when those under way began
	made  int               // guarded by mu; calls so far
}

func newPlain(ctx context.Context, to Cluster) (*client, error) {
	p := &plain{cluster: to}
	if err := p.begin(ctx); err != nil {
		return nil, err
	}
	return &client{
		do:      func(ctx context.Context, a radix.Action) error { return p.life.Load().do(ctx, a) },
		primary: func() string { return p.life.Load().primary() },
		restart: p.restart,
		release: func() { p.life.Load().abandon() },
		close:   func() { p.life.Load().close() },
	}, nil
}

// begin begins a new life.
func (p *plain) begin(ctx context.Context) error {
	s, err := connectRadix(ctx, p.cluster)
	if err != nil {
		return fmt.Errorf("sentinels %q: %w", p.cluster.SentinelAddrs(), err)
	}
	l := &life{sentinel: s, abandoned: make(chan struct{}), calls: make(map[int]time.Time)}
	l.look()
	go l.watch() //nolint:contextcheck // as above
	p.life.Store(l)
	return nil
}

// connectRadix makes the client, within ctx.
func connectRadix(ctx context.Context, to Cluster) (*radix.Sentinel, error) {
	type result struct {
		sentinel *radix.Sentinel
		err      error
	}
	made := make(chan result, 1)
	go func() {
		s, err := to.Access().Radix().New(ctx, to.Name(), to.SentinelAddrs())
		made <- result{s, err}
	}()
	select {
	case r := <-made:
		return r.sentinel, r.err
	case <-ctx.Done():
		go func() {
			if r := <-made; r.err == nil {
				_ = r.sentinel.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// restart begins a new life if calls of this one are stuck, as somebody who runs an application
// would restart it.
func (p *plain) restart(ctx context.Context) string {
	old := p.life.Load()
	stuck, longest := old.stuck()
	if stuck == 0 {
		return ""
	}
	text := fmt.Sprintf("calls of plain that have not returned: %d, one for %.1f s; its application is restarted", stuck, longest.Seconds())
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	if err := p.begin(ctx); err != nil {
		return text + ", which fails: " + err.Error()
	}
	old.close()
	return text
}

// stuck returns how many calls have been under way for longer than a caller's patience, and for how
// long the oldest has.
func (l *life) stuck() (count int, longest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, begun := range l.calls {
		if age := time.Since(begun); age > drill.Patience {
			count++
			longest = max(longest, age)
		}
	}
	return count, longest
}

func (l *life) do(ctx context.Context, a radix.Action) error {
	call := l.begin()
	done := make(chan error, 1)
	go func() {
		done <- l.sentinel.Do(ctx, a)
		l.end(call)
	}()
	select {
	case err := <-done:
		return err
	case <-l.abandoned:
		return errAbandoned
	}
}

func (l *life) begin() (call int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made++
	l.calls[l.made] = time.Now()
	return l.made
}

func (l *life) end(call int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.calls, call)
}

// watch looks again and again who the primary is, until the life is abandoned or looking never
// ends.
func (l *life) watch() {
	ticker := time.NewTicker(lookEach)
	defer ticker.Stop()
	for {
		select {
		case <-l.abandoned:
			return
		case <-ticker.C:
			l.look()
		}
	}
}

func (l *life) look() {
	clients, err := l.sentinel.Clients()
	if err != nil {
		return
	}
	for addr := range clients {
		l.seen.Store(&addr)
	}
}

func (l *life) primary() string {
	if addr := l.seen.Load(); addr != nil {
		return *addr
	}
	return ""
}

// abandon lets go of the calls under way.
func (l *life) abandon() { l.leaving.Do(func() { close(l.abandoned) }) }

// close abandons the calls under way and closes the client, as far as that works.
func (l *life) close() {
	l.abandon()
	closed := make(chan struct{})
	go func() {
		_ = l.sentinel.Close()
		close(closed)
	}()
	timer := time.NewTimer(leaveAfter)
	defer timer.Stop()
	select {
	case <-closed:
	case <-timer.C:
	}
}
