package sentinel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
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
	known := make(map[string][]string) // addresses, by what the user gave
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
		var all []string
		for _, addrs := range known {
			all = append(all, addrs...)
		}
		s.client.director.post(func() { s.found(ctx, all, errors.Join(failures...)) })
		if !sleep(ctx, lookupInterval, nil) {
			return
		}
	}
}

// resolve returns all addresses of a host:port.
func (s *survey) resolve(ctx context.Context, given string) ([]string, error) {
	host, port, err := net.SplitHostPort(given)
	if err != nil || net.ParseIP(host) != nil {
		return []string{given}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.client.options.DialTimeout)
	defer cancel()
	hosts, err := s.client.options.LookupHost(ctx, host)
	if err != nil || len(hosts) == 0 {
		return nil, fmt.Errorf("look up %s: %w", host, cmp.Or(err, errors.New("it has no address")))
	}
	addrs := make([]string, len(hosts))
	for i, h := range hosts {
		addrs[i] = net.JoinHostPort(h, port)
		s.client.servers.names.Store(addrs[i], host)
	}
	return addrs, nil
}

// found takes in the addresses of the servers. One that is not among them any more is asked on for as long as it answers.
func (s *survey) found(ctx context.Context, addrs []string, err error) {
	if len(s.asked) == 0 && len(addrs) == 0 {
		s.client.director.heard(s.watcher, nil, err)
		return
	}
	for addr, a := range s.asked {
		a.listed = slices.Contains(addrs, addr)
	}
	for _, addr := range addrs {
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

// ask asks one server for its role, again and again.
func (s *survey) ask(ctx context.Context, addr string, wake <-chan struct{}) {
	var conn *wire.Conn
	q := inquirer{servers: s.client.servers}
	for failures := 0; ; {
		asked := time.Now()
		r, err := s.askOnce(ctx, &q, &conn, addr)
		if ctx.Err() != nil {
			break
		}
		pause := surveyInterval
		if err != nil {
			pause = retry(failures, retryCap)
			failures++
		} else {
			failures = 0
		}
		s.client.director.post(func() { s.heard(addr, asked, r, err) })
		if !sleep(ctx, pause, wake) {
			break
		}
	}
	if conn != nil {
		conn.End(s.client.retired())
	}
}

func (s *survey) askOnce(ctx context.Context, q *inquirer, conn **wire.Conn, addr string) (role, error) {
	if *conn == nil {
		fresh, err := s.client.servers.connect(ctx, addr, wire.Options{})
		if err != nil {
			return role{}, err
		}
		*conn = fresh
	}
	ctx, cancel := context.WithTimeout(ctx, s.client.roleTimeout())
	defer cancel()
	r, err := q.ask(ctx, *conn)
	if err != nil {
		(*conn).End(err)
		*conn = nil
	}
	return r, err
}

// heard takes in what a server says, or that it says nothing, and tells the director what follows.
func (s *survey) heard(addr string, asked time.Time, r role, err error) {
	a, d := s.asked[addr], s.client.director
	if a == nil || s.client.ctx.Err() != nil {
		return
	}
	promoted := false
	switch {
	case err == nil:
		promoted = s.servers.Hear(addr, roles.Answer{Primary: r.primary, Linked: r.linked})
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
