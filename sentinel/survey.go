package sentinel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/roles"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

const (
	// surveyor is the name of the only voter where there are no sentinels. It is no address.
	surveyor = "servers"
	// surveyInterval is how often each server is asked for its role.
	surveyInterval = 100 * time.Millisecond
	// lookupInterval is how often host names are looked up.
	lookupInterval = time.Second
)

// survey asks servers for their roles, where there are no sentinels, and speaks to the director as one sentinel would.
type survey struct {
	watcher *watcher
	client  *Client
	name    string

	// The director's.
	servers roles.Servers
	asked   map[string]*surveyed // by address
}

// surveyed is a server that is asked.
type surveyed struct {
	listed bool // the list of servers, or a name in it, still has it
	cancel context.CancelFunc
	wake   chan struct{} // asks for a question now; capacity 1
}

func newSurvey(w *watcher) *survey {
	return &survey{watcher: w, client: w.client, name: w.client.options.Names[0], asked: make(map[string]*surveyed)}
}

func (s *survey) start(ctx context.Context) {
	s.client.spawn(func() { s.lookUp(ctx) })
	s.client.spawn(func() { s.hurry(ctx) })
}

// hurry has all asked at once when the director wants it.
func (s *survey) hurry(ctx context.Context) {
	for {
		select {
		case <-s.watcher.wake:
			s.client.director.post(func() {
				for _, a := range s.asked {
					signal(a.wake)
				}
			})
		case <-ctx.Done():
			return
		}
	}
}

// lookUp finds the addresses of the servers, again and again. What it does not find changes nothing.
func (s *survey) lookUp(ctx context.Context) {
	known := make(map[string]map[string]string) // host names, by address, by what the user gave
	for {
		var failures []error
		for _, given := range s.client.options.Servers {
			addrs, err := s.resolve(ctx, given)
			if err == nil {
				known[given] = addrs
			} else {
				failures = append(failures, err)
			}
		}
		if ctx.Err() != nil {
			return
		}
		all := make(map[string]string)
		for _, given := range s.client.options.Servers {
			for addr, host := range known[given] {
				all[addr] = cmp.Or(host, all[addr]) // it may be listed by itself, too
			}
		}
		s.client.director.post(func() { s.found(ctx, all, errors.Join(failures...)) })
		if !sleep(ctx, lookupInterval, nil) {
			return
		}
	}
}

// resolve returns all addresses of a host:port, with the host if it is a name.
func (s *survey) resolve(ctx context.Context, given string) (map[string]string, error) {
	host, port, err := net.SplitHostPort(given)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return map[string]string{given: ""}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.client.options.DialTimeout)
	defer cancel()
	hosts, err := s.lookUpHost(ctx, host)
	addrs := make(map[string]string, len(hosts))
	for _, h := range hosts {
		if h != "" { // it would be this machine
			addrs[net.JoinHostPort(h, port)] = host
		}
	}
	if err != nil || len(addrs) == 0 {
		return nil, fmt.Errorf("look up %s: %w", host, cmp.Or(err, errors.New("it has no address")))
	}
	return addrs, nil
}

// lookUpHost runs the user's own code, which must not take the process down with it.
func (s *survey) lookUpHost(ctx context.Context, host string) (addrs []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			addrs, err = nil, fmt.Errorf("Options.LookupHost panicked: %v", p)
		}
	}()
	return s.client.options.LookupHost(ctx, host)
}

// found takes in the addresses of the servers, with the host names that they are of. One that is not among them any more is asked on for as
// long as it answers.
func (s *survey) found(ctx context.Context, addrs map[string]string, err error) {
	if len(s.asked) == 0 && len(addrs) == 0 {
		s.client.director.heard(s.watcher, nil, err)
		return
	}
	for addr, a := range s.asked {
		_, a.listed = addrs[addr]
	}
	s.forgetNames()
	for _, addr := range slices.Sorted(maps.Keys(addrs)) {
		if host := addrs[addr]; host != "" {
			s.client.servers.names.Store(addr, host)
		}
		if s.asked[addr] != nil {
			continue
		}
		own, cancel := context.WithCancel(ctx)
		a := &surveyed{listed: true, cancel: cancel, wake: make(chan struct{}, 1)}
		s.asked[addr] = a
		s.servers.Add(addr)
		s.client.director.log.Debug("server is asked for its role", observe.Endpoint(s.name), "addr", addr)
		s.client.spawn(func() { s.ask(own, addr, a.wake) })
	}
}

// forgetNames forgets the host names of addresses that nobody dials any more.
func (s *survey) forgetNames() {
	v, _ := s.servers.Verdict()
	s.client.servers.names.Range(func(key, _ any) bool {
		if addr := key.(string); s.asked[addr] == nil && addr != v.Addr {
			s.client.servers.names.Delete(addr)
		}
		return true
	})
}

// ask asks one server for its role, again and again.
func (s *survey) ask(ctx context.Context, addr string, wake <-chan struct{}) {
	i := interview{inquirer: inquirer{servers: s.client.servers}}
	for failures := 0; ; {
		asked := time.Now()
		r, err := i.once(ctx, addr)
		if ctx.Err() != nil {
			break
		}
		pause, answer := surveyInterval, roles.Answer{Primary: r.primary, Linked: r.linked, ID: i.id}
		if err != nil {
			pause = retry(failures, retryCap)
			failures++
		} else {
			failures = 0
		}
		s.client.director.post(func() { s.heard(addr, asked, answer, err) })
		if !sleep(ctx, pause, wake) {
			break
		}
	}
	if i.conn != nil {
		i.conn.End(s.client.retired())
	}
}

// interview is the questions to one server.
type interview struct {
	inquirer

	conn *wire.Conn // nil: none yet, or not any more
	id   string     // of the process at the other end of conn
}

func (i *interview) once(ctx context.Context, addr string) (r role, err error) {
	fresh := i.conn == nil
	if fresh {
		if i.conn, err = i.servers.connect(ctx, addr, wire.Options{}); err != nil {
			i.conn = nil
			return role{}, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, i.servers.client.roleTimeout())
	defer cancel()
	if fresh {
		i.id, err = i.processID(ctx, i.conn)
	}
	if err == nil {
		r, err = i.ask(ctx, i.conn)
	}
	if err != nil {
		i.conn.End(err)
		i.conn = nil
	}
	return r, err
}

// heard takes in what a server says, or that it says nothing, and tells the director what follows.
func (s *survey) heard(addr string, asked time.Time, says roles.Answer, err error) {
	a, d := s.asked[addr], s.client.director
	if a == nil || s.client.ctx.Err() != nil {
		return
	}
	promoted := false
	switch {
	case err == nil:
		promoted = s.servers.Hear(addr, says)
	case a.listed:
		s.servers.Miss(addr)
	default:
		a.cancel()
		delete(s.asked, addr)
		s.servers.Remove(addr)
	}
	switch {
	case !s.servers.Settled():
		return
	case !s.servers.Answers():
		d.heard(s.watcher, nil, cmp.Or(err, roles.ErrNone))
		return
	case promoted:
		d.pushed(s.watcher, push{channel: pushSelected, name: s.name, addr: addr})
	}
	answer := &polled{id: surveyor, asked: asked, reports: make(map[string]*follow.Report), unknown: make(map[string]error)}
	v, err := s.servers.Verdict()
	if err != nil {
		answer.unknown[s.name] = err
	} else {
		answer.reports[s.name] = report(v)
	}
	d.heard(s.watcher, answer, nil)
}

// report is a verdict as a sentinel would give it.
func report(v roles.Verdict) *follow.Report {
	r := &follow.Report{Addr: v.Addr, Epoch: v.Epoch}
	for _, replica := range v.Replicas {
		r.Replicas = append(r.Replicas, follow.Replica{Addr: replica.Addr, Usable: replica.Usable, Lost: replica.Lost})
	}
	return r
}
