package watch

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
	"github.com/holdfast-go/holdfast/sentinel/internal/access"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/roles"
	"github.com/holdfast-go/holdfast/sentinel/internal/signals"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

const (
	// Surveyor is the name of the only voter where there are no sentinels. It is no address.
	Surveyor = "servers"
	// surveyInterval is how often each server is asked for its role.
	surveyInterval = 100 * time.Millisecond
	// lookupInterval is how often host names are looked up.
	lookupInterval = time.Second
)

// Survey asks servers for their roles, where there are no sentinels, and tells what one sentinel
// would.
type Survey struct {
	Config

	given     []string // host:port
	lookup    func(ctx context.Context, host string) (addrs []string, err error)
	patience  time.Duration // for a question
	connector *access.Connector
	wake      signals.Waker

	// Of the goroutine that Post hands work to.
	servers roles.Servers
	asked   map[string]*surveyed // by address
}

// surveyed is a server that is asked.
type surveyed struct {
	listed bool // the list of servers, or a name in it, still has it
	cancel context.CancelFunc
	wake   signals.Waker // asks for a question now
}

// NewSurvey returns one that asks the servers given, as host:port, for the one name of its Config.
// Patience is how long a question may take.
func NewSurvey(c Config, servers []string, lookup func(context.Context, string) ([]string, error), patience time.Duration, through *access.Connector) *Survey {
	return &Survey{
		Config: c, given: servers, lookup: lookup, patience: patience, connector: through, wake: signals.NewWaker(),
		asked: make(map[string]*surveyed),
	}
}

// Start begins to ask, until ctx ends.
func (s *Survey) Start(ctx context.Context) {
	s.Spawn(func() { s.lookUp(ctx) })
	s.Spawn(func() { s.hurry(ctx) })
}

// Poke has all asked at once.
func (s *Survey) Poke() { s.wake.Wake() }

func (s *Survey) name() string { return s.Names[0] }

// hurry has all asked when somebody wants it.
func (s *Survey) hurry(ctx context.Context) {
	for {
		select {
		case <-s.wake:
			s.Post(func() {
				for _, a := range s.asked {
					a.wake.Wake()
				}
			})
		case <-ctx.Done():
			return
		}
	}
}

// lookUp finds the addresses of the servers, again and again. What it does not find changes
// nothing.
func (s *Survey) lookUp(ctx context.Context) {
	known := make(map[string]map[string]string) // host names, by address, by what the user gave
	for {
		var failures []error
		for _, given := range s.given {
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
		for _, given := range s.given {
			for addr, host := range known[given] {
				all[addr] = cmp.Or(host, all[addr]) // it may be listed by itself, too
			}
		}
		s.Post(func() { s.found(ctx, all, errors.Join(failures...)) })
		if !signals.Sleep(ctx, lookupInterval, nil) {
			return
		}
	}
}

// resolve returns all addresses of a host:port, with the host if it is a name.
func (s *Survey) resolve(ctx context.Context, given string) (map[string]string, error) {
	host, port, err := net.SplitHostPort(given)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return map[string]string{given: ""}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.DialTimeout)
	defer cancel()
	found := observe.Aside(lookedUp{err: errEnded}, func() lookedUp {
		hosts, err := s.lookUpHost(ctx, host)
		return lookedUp{hosts, err}
	})
	hosts, err := found.hosts, found.err
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

// lookedUp are the addresses of a host, or an error.
type lookedUp struct {
	hosts []string
	err   error
}

var errEnded = errors.New("Options.LookupHost has ended its goroutine")

// lookUpHost runs the user's own code, which must not take the process down with it.
func (s *Survey) lookUpHost(ctx context.Context, host string) (addrs []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			addrs, err = nil, fmt.Errorf("Options.LookupHost panicked: %v", p)
		}
	}()
	return s.lookup(ctx, host)
}

// found takes in the addresses of the servers, with the host names that they are of. One that is
// not among them any more is asked on for as long as it answers.
func (s *Survey) found(ctx context.Context, addrs map[string]string, err error) {
	if len(s.asked) == 0 && len(addrs) == 0 {
		s.Heard(&Answer{Asked: time.Now()}, err)
		return
	}
	for addr, a := range s.asked {
		_, a.listed = addrs[addr]
	}
	s.forgetNames()
	for _, addr := range slices.Sorted(maps.Keys(addrs)) {
		if host := addrs[addr]; host != "" {
			s.connector.Name(addr, host)
		}
		if s.asked[addr] != nil {
			continue
		}
		own, cancel := context.WithCancel(ctx)
		a := &surveyed{listed: true, cancel: cancel, wake: signals.NewWaker()}
		s.asked[addr] = a
		s.servers.Add(addr)
		s.Log.Debug("server is asked for its role", observe.Endpoint(s.name()), "addr", addr)
		s.Spawn(func() { s.ask(own, addr, a.wake) })
	}
}

// forgetNames forgets the host names of addresses that nobody dials any more.
func (s *Survey) forgetNames() {
	v, _ := s.servers.Verdict()
	s.connector.ForgetNames(func(addr string) bool { return s.asked[addr] != nil || addr == v.Addr })
}

// ask asks one server for its role, again and again.
func (s *Survey) ask(ctx context.Context, addr string, wake <-chan struct{}) {
	i := interview{Inquirer: access.NewInquirer(s.connector), servers: s.connector, patience: s.patience}
	for failures := 0; ; {
		asked := time.Now()
		r, err := i.once(ctx, addr)
		if ctx.Err() != nil {
			break
		}
		pause, answer := surveyInterval, roles.Answer{Primary: r.Primary, Linked: r.Linked, ID: i.id}
		if err != nil {
			pause = retry(failures, retryCap)
			failures++
		} else {
			failures = 0
		}
		s.Post(func() { s.heard(addr, asked, answer, err) })
		if !signals.Sleep(ctx, pause, wake) {
			break
		}
	}
	if i.conn != nil {
		i.conn.End(s.connector.Retired())
	}
}

// interview is the questions to one server.
type interview struct {
	access.Inquirer

	servers  *access.Connector
	patience time.Duration
	conn     *wire.Conn // nil: none yet, or not any more
	id       string     // of the process at the other end of conn
}

func (i *interview) once(ctx context.Context, addr string) (r access.Role, err error) {
	fresh := i.conn == nil
	if fresh {
		if i.conn, err = i.servers.Connect(ctx, addr, wire.Options{}); err != nil {
			i.conn = nil
			return access.Role{}, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, i.patience)
	defer cancel()
	if fresh {
		i.id, err = i.ProcessID(ctx, i.conn)
	}
	if err == nil {
		r, err = i.Ask(ctx, i.conn)
	}
	if err != nil {
		i.conn.End(err)
		i.conn = nil
	}
	return r, err
}

// heard takes in what a server says, or that it says nothing, and tells what follows.
func (s *Survey) heard(addr string, asked time.Time, says roles.Answer, err error) {
	a := s.asked[addr]
	if a == nil || s.connector.Context.Err() != nil {
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
		s.Heard(&Answer{Asked: asked}, cmp.Or(err, roles.ErrNone))
		return
	case promoted:
		s.Pushed(Push{Channel: Selected, Name: s.name(), Addr: addr})
	}
	answer := &Answer{ID: Surveyor, Asked: asked, Reports: make(map[string]*follow.Report), Unknown: make(map[string]error)}
	v, err := s.servers.Verdict()
	if err != nil {
		answer.Unknown[s.name()] = err
	} else {
		answer.Reports[s.name()] = report(v)
	}
	s.Heard(answer, nil)
}

// report is a verdict as a sentinel would give it.
func report(v roles.Verdict) *follow.Report {
	r := &follow.Report{Addr: v.Addr, Epoch: v.Epoch}
	for _, replica := range v.Replicas {
		r.Replicas = append(r.Replicas, follow.Replica{Addr: replica.Addr, Usable: replica.Usable, Lost: replica.Lost})
	}
	return r
}
