package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/etcdpeers"
	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer/grpcpb"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// ErrRunning is returned by Start of a server that is running.
var ErrRunning = errors.New("etcd: the server is running already")

// ErrClosed is returned by Start after Close. Make a new Server.
var ErrClosed = errors.New("etcd: the server is closed")

// A Server answers peers for all groups of the process, and finds the others through etcd. Make it
// with NewServer; the zero value is of no use. Several may be in one process. Its methods are safe
// for concurrent use.
type Server struct {
	grpcpb.UnimplementedGroupCacheServer

	// Addr is the host:port by which peers reach the server. It must not be changed.
	Addr string
	// Status says that the server is running. Start and Stop write it: a program that reads it
	// while they may be called has a data race, and should call Running.
	Status bool

	options  Options
	network  *network
	instance *groupcache.Instance
	log      *slog.Logger
	picker   groupcache.PeerPicker

	mu     sync.Mutex
	peers  []string // of SetPeers; guarded by mu
	run    *run     // nil while it is not running; guarded by mu
	closed bool     // guarded by mu
}

var (
	_ Picker                  = (*Server)(nil)
	_ grpcpb.GroupCacheServer = (*Server)(nil)
)

// NewServer makes a server that peers reach at host:port; empty is 127.0.0.1:6324. It knows no
// peers, and does not listen: see SetPeers and Start. The endpoints of etcd are those of the
// environment variable ETCDCTL_ENDPOINTS, else localhost:2379.
func NewServer(addr string) (*Server, error) { return NewServerWith(addr, Options{}) }

// NewServerWith is NewServer with options. The error tells which of them is wrong; those for etcd
// are looked at by Start.
func NewServerWith(addr string, opts Options) (*Server, error) {
	if addr == "" {
		addr = defaultAddr
	}
	if err := opts.check(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	asking, err := grpcpeer.New(opts.Peers)
	if err != nil {
		return nil, fmt.Errorf("etcd: Options.Peers: %w", err)
	}
	s := &Server{Addr: addr, options: opts, network: &network{Network: asking}}
	if err := asking.CheckAddress(addr); err != nil {
		return nil, fmt.Errorf("etcd: NewServer: %w", err)
	}
	o := opts.Cache
	o.Self, o.Network = addr, s.network
	if s.instance, err = groupcache.New(o); err != nil {
		return nil, fmt.Errorf("etcd: Options.Cache: %w", err)
	}
	s.picker, s.log = s.instance.PeerPicker(), observe.Logger(opts.Logger, s.instance.Name())
	return s, nil
}

// network is that of the Instance: it asks peers as long as there is the Server. Each run has
// another one that answers them.
type network struct {
	*grpcpeer.Network
	own   wire.Local // answers for the server's groups
	local wire.Local // answers for all groups of the process
}

var _ groupcache.Network = (*network)(nil)

// Attach implements groupcache.Network.
func (n *network) Attach(local wire.Local) error {
	n.own, n.local = local, everyGroup{local}
	return n.Network.Attach(n.local)
}

// Instance is the cache behind the server: for its metrics, its DebugHandler, and what it has
// beyond this package.
func (s *Server) Instance() *groupcache.Instance { return s.instance }

// Running reports whether Start has been called and has not returned.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run != nil
}

// SetPeers replaces the peers by host:port, that of this server among them: all must be given the
// same, in any order. An invalid address is logged and left out. While the server is running and
// etcd is there, etcd's list of servers that run replaces it, at each change; without etcd it
// stays.
func (s *Server) SetPeers(peersAddr []string) {
	good := make([]string, 0, len(peersAddr))
	for _, addr := range peersAddr {
		if err := s.network.CheckAddress(addr); err != nil {
			s.log.Error("etcd: a peer is left out", observe.Cause(err))
			continue
		}
		good = append(good, addr)
	}
	s.mu.Lock()
	s.peers = good
	s.mu.Unlock()
	if err := s.instance.SetPeers(good...); err != nil {
		s.log.Error("etcd: the peers are not changed", observe.Cause(err))
	}
}

// Pick returns the owner of a key and true, or false if this server is the owner, or has no peers.
func (s *Server) Pick(key string) (Fetcher, bool) {
	p, ok := s.picker.PickPeer(key)
	if !ok {
		return nil, false
	}
	return picked{p}, true
}

// Get answers as to a peer, for any group of the process: from its cache, or by its Retriever.
func (s *Server) Get(ctx context.Context, req *pb.GetRequest) (*pb.GetResponse, error) {
	a, err := s.network.local.Get(ctx, req.GetGroup(), req.GetKey(), func() {})
	switch {
	case errors.Is(err, wire.ErrNoGroup):
		return nil, status.Errorf(codes.FailedPrecondition, "no such group %.100q", req.GetGroup())
	case err != nil:
		return nil, status.Error(codes.Unavailable, err.Error())
	case a.Outcome == wire.NotFound:
		return nil, status.Error(codes.NotFound, a.Message)
	case a.Outcome != wire.Found:
		return nil, status.Error(codes.Unknown, a.Message)
	}
	out := &pb.GetResponse{Value: []byte(a.Value)}
	if a.Expire != 0 {
		out.Expire = &a.Expire
	}
	return out, nil
}

// join makes a group one of this server's, in the place of one of the same name.
func (s *Server) join(g *Group) *groupcache.Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instance.Deregister(g.name)
	e, err := g.on(s.instance)
	if err != nil { // the server is closed
		return g.alone(groupcache.WithPeerPicker(groupcache.NoPeers{}))
	}
	return e
}

// leave takes a group from this server, and says whether there is none left.
func (s *Server) leave(g *Group) (last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.instance.Group(g.name) == g.current.Load() {
		s.instance.Deregister(g.name)
	}
	return len(s.instance.Groups()) == 0
}

// run is the time from a Start to its end.
type run struct {
	network  *grpcpeer.Network // answers peers
	listener net.Listener
	life     context.Context // until Stop
	stop     context.CancelFunc
	ended    chan struct{} // closed when Start returns
}

// Start listens, registers with etcd, and answers peers until Stop; then it returns nil. Without
// etcd it answers nevertheless, and goes on trying to register. The error is that of listening,
// ErrRunning, ErrClosed, or tells which option for etcd is wrong.
func (s *Server) Start() error {
	r, err := s.begin()
	if err != nil {
		return err
	}
	err = s.serve(r)
	s.mu.Lock()
	s.run, s.Status = nil, false
	s.mu.Unlock()
	close(r.ended)
	return err
}

func (s *Server) begin() (*run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrClosed
	case s.run != nil:
		return nil, ErrRunning
	}
	r := &run{ended: make(chan struct{})}
	var err error
	if r.network, err = grpcpeer.New(s.options.Peers); err != nil {
		return nil, err
	}
	if err = r.network.Attach(s.network.local); err != nil {
		return nil, err
	}
	addr := s.options.Listen
	if addr == "" {
		addr = s.Addr
	}
	r.life, r.stop = context.WithCancel(context.Background())
	if r.listener, err = (&net.ListenConfig{}).Listen(r.life, "tcp", addr); err != nil {
		r.stop()
		return nil, fmt.Errorf("etcd: %w", err)
	}
	if len(s.peers) > 0 {
		_ = s.instance.SetPeers(s.peers...) // they were checked
	}
	s.run, s.Status = r, true
	return r, nil
}

const (
	// drainTimeout bounds the time in which values are handed over before the server leaves.
	drainTimeout = time.Second
	// stopTimeout bounds the time in which requests of peers can end after that.
	stopTimeout = 5 * time.Second
)

// serve answers peers until Stop.
func (s *Server) serve(r *run) error {
	defer r.stop()
	served := make(chan error, 1)
	go func() { served <- r.network.Serve(r.listener) }()
	watcher, err := etcdpeers.Watch(r.life, s.instance, s.options.Service, s.options.discovery(s.Addr))
	if err != nil {
		return errors.Join(fmt.Errorf("etcd: %w", err), r.network.Close(), <-served)
	}
	select {
	case err = <-served:
		s.depart(r, watcher)
		return err
	case <-r.life.Done():
		s.depart(r, watcher)
		return <-served
	}
}

// depart leaves the others in an order in which they do not notice: values first, then the list,
// then the connections.
func (s *Server) depart(r *run, watcher *etcdpeers.Watcher) {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := s.instance.Drain(ctx); err != nil {
		s.log.Info("etcd: not all values were handed over", observe.Cause(err))
	}
	if err := watcher.Close(); err != nil {
		s.log.Warn("etcd: the registration stays until it expires", "addr", s.Addr, observe.Cause(err))
	}
	ctx, cancel = context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := r.network.Shutdown(ctx); err != nil {
		s.log.Warn("etcd: requests of peers were ended", "addr", s.Addr, observe.Cause(err))
	}
	_ = s.instance.SetPeers() // its only error is that of a closed Instance
}

// Stop lets the values that are read most go to other servers, takes this one off etcd's list, lets
// requests of peers end, and waits until Start has returned: for 8 s at most. The groups work on,
// alone. It does nothing if the server is not running; it can be started again.
func (s *Server) Stop() {
	s.mu.Lock()
	r := s.run
	s.mu.Unlock()
	if r == nil {
		return
	}
	r.stop()
	<-r.ended
}

// Close is Stop for good: it ends all that the server's groups have under way, too; their Gets
// return groupcache.ErrClosed. It returns nil.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.Stop()
	return errors.Join(s.instance.Close(), s.network.Close())
}
