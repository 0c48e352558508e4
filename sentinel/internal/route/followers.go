package route

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/outcome"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// followers are the connections of the Dialers of one primary.
type followers struct {
	mu    sync.Mutex
	conns map[*followed]struct{} // guarded by mu
}

// add takes a connection in, unless the primary is another by now. A change of the primary changes
// the seat first, and looks at the followers then: none is missed.
func (s *followers) add(f *followed) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := f.primary.Seat(); now.Generation != f.generation {
		return false
	}
	if s.conns == nil {
		s.conns = make(map[*followed]struct{})
	}
	s.conns[f] = struct{}{}
	return true
}

func (s *followers) remove(f *followed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, f)
}

func (s *followers) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// takeBefore takes out the connections of earlier generations: all of them, or those that are idle.
func (s *followers) takeBefore(generation uint64, which func(*followed) bool) []*followed {
	s.mu.Lock()
	defer s.mu.Unlock()
	var taken []*followed
	for f := range s.conns {
		if f.generation < generation && which(f) {
			taken = append(taken, f)
			delete(s.conns, f)
		}
	}
	return taken
}

// EndFollowed ends the connections of earlier generations.
func (p *Route) EndFollowed(generation uint64, cause error) {
	p.endFollowed(generation, func(*followed) bool { return true }, cause)
}

// EndIdleFollowed ends those of earlier generations whose users wait for nothing.
func (p *Route) EndIdleFollowed(generation uint64, cause error) {
	p.endFollowed(generation, (*followed).idle, cause)
}

// endFollowed ends connections. Their users learn it at once; the sockets are closed beside, as
// there may be many.
func (p *Route) endFollowed(generation uint64, which func(*followed) bool, cause error) {
	taken := p.followers.takeBefore(generation, which)
	if len(taken) == 0 {
		return
	}
	for _, f := range taken {
		f.ended.Store(&cause)
	}
	p.Log.Debug("connections of other clients end", observe.Endpoint(p.Name), "connections", len(taken), observe.Cause(cause))
	closeAll := func() {
		for _, f := range taken {
			f.abort()
		}
	}
	if !p.Spawn(closeAll) {
		closeAll()
	}
}

// Followed is how many connections other clients have.
func (p *Route) Followed() int { return p.followers.count() }

// attempts is how often a dial begins again because the primary has changed meanwhile.
const attempts = 3

// Dial opens a connection to the present primary for another client. While there is none it fails
// at once, and does not dial.
func (p *Route) Dial(ctx context.Context) (net.Conn, error) {
	for range attempts {
		s := p.Seat()
		if s.Err != nil {
			p.Metrics.Refused.Add(1)
			return nil, s.Err
		}
		conn, raw, err := p.Servers.Reach(ctx, s.Addr)
		if err != nil {
			return nil, notSent(p.Name, s.Addr, err)
		}
		f := &followed{Conn: conn, raw: raw, primary: p, forget: p.followers.remove, generation: s.Generation, addr: s.Addr}
		if !p.followers.add(f) {
			_ = raw.Close()
			continue
		}
		if socket, ok := conn.(syscall.Conn); ok {
			return followedSocket{f, socket}, nil
		}
		return f, nil
	}
	return nil, notSent(p.Name, p.Seat().Addr, fmt.Errorf("%w: the primary has changed during %d dials", outcome.ErrFailover, attempts))
}

// Admit reports whether a command of a class may be sent now. If it may change data and a failover
// is under way, it waits for the end of that, for FenceWait at most.
func (p *Route) Admit(ctx context.Context, class wire.Class) error {
	s := p.Seat()
	if s.Err == nil && (s.Fence == nil || class&wire.Writes == 0) {
		return nil
	}
	_, err := p.await(ctx, s, class)
	return err
}
