package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

// errNoUser is returned by Partition and Heal of a server without a user to cut off.
var errNoUser = errors.New("redis: the server has no ServerOptions.User to cut off")

// ServerOptions says how to run a redis-server, version 7 or later. The zero value runs the one of
// PATH on a free port of 127.0.0.1, without persistence and password, as a primary.
type ServerOptions struct {
	// Path is the program. Default: what FindServer finds.
	Path string
	// Password is that of the default user, and the one it shows to its primary. Default: none.
	Password string
	// User and UserPassword are a second login, with all rights, that Partition cuts off. Default:
	// none.
	User, UserPassword string
	// ReplicaOf is the host:port of a primary. Default: it is a primary itself.
	ReplicaOf string
	// Host is a name of the loopback interface by which it is known, such as "localhost". Default:
	// 127.0.0.1.
	Host string
	// Args are further arguments, such as "--maxmemory", "10mb". They win over the configuration
	// file. Default: none.
	Args []string
}

// Server is a real redis in a process of its own. It has no useful zero value; LaunchServer and
// StartServer make one. It is a testutil.Server and safe for concurrent use.
type Server struct {
	process
	options ServerOptions // ReplicaOf is guarded by process.mu
}

// StartServer runs a redis for one test, with the first of o if there is one, and closes it when
// the test ends. A missing program skips the test, or fails it if HOLDFAST_REQUIRE_SERVERS is 1.
func StartServer(tb testutil.TB, o ...ServerOptions) *Server {
	tb.Helper()
	s, err := LaunchServer(context.Background(), first(o))
	closeAtEnd(tb, "redis-server", s, err)
	return s
}

// LaunchServer starts a redis and returns once it answers; a replica may still be without its data
// then. ctx bounds only the start, which takes 10 s at most. On Linux the process dies with its
// parent.
func LaunchServer(ctx context.Context, o ServerOptions) (*Server, error) {
	s := &Server{options: o}
	s.process = process{
		name: "redis", host: o.Host, path: o.Path, password: o.Password, args: o.Args,
		configure: s.config, prepare: func(context.Context) error { return nil },
	}
	if _, _, err := net.SplitHostPort(o.ReplicaOf); o.ReplicaOf != "" && err != nil {
		return nil, fmt.Errorf("redis: ReplicaOf: %w", err)
	}
	if err := s.first(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) config() []string {
	lines := []string{
		`save ""`, "appendonly no", "dbfilename " + dataFile, "enable-debug-command local",
		// A replica that was sent its data without a file is held back until its next sign of life,
		// a second later.
		"repl-diskless-sync no",
		// What a server does on its own, such as the next step of a replication, it does ten times
		// a second by default.
		"hz 50",
	}
	if s.options.Password != "" {
		lines = append(lines, "masterauth "+strconv.Quote(s.options.Password))
	}
	if s.options.User != "" {
		lines = append(lines, fmt.Sprintf("user %s on %s ~* &* +@all", s.options.User, strconv.Quote(">"+s.options.UserPassword)))
	}
	if s.options.Host != "" {
		lines = append(lines, "replica-announce-ip "+s.options.Host)
	}
	if s.options.ReplicaOf != "" {
		ip, port, _ := net.SplitHostPort(s.options.ReplicaOf)
		lines = append(lines, "replicaof "+ip+" "+port)
	}
	return lines
}

// RestartAs is Restart with a fresh configuration: as a replica of a host:port, or as a primary if
// that is empty.
func (s *Server) RestartAs(replicaOf string) error {
	return s.locked(func() error {
		s.options.ReplicaOf = replicaOf
		if err := s.run.Kill(); err != nil {
			return err
		}
		if err := s.writeConfig(); err != nil {
			return fmt.Errorf("redis: %w", err)
		}
		return s.restartLocked()
	})
}

// Partition cuts off all clients that are logged in as ServerOptions.User: their connections are
// closed and new logins answered with WRONGPASS, while replication and sentinels, which use the
// default user, go on.
func (s *Server) Partition(ctx context.Context) error {
	if err := s.setUser(ctx, "off"); err != nil {
		return err
	}
	_, err := s.Do(ctx, "CLIENT", "KILL", "USER", s.options.User)
	return err
}

// Heal ends a Partition.
func (s *Server) Heal(ctx context.Context) error { return s.setUser(ctx, "on") }

func (s *Server) setUser(ctx context.Context, state string) error {
	if s.options.User == "" {
		return errNoUser
	}
	_, err := s.Do(ctx, "ACL", "SETUSER", s.options.User, state)
	return err
}

// Role is a server's report of itself.
type Role struct {
	// Primary says that it is one.
	Primary bool
	// Of is the host:port of a replica's primary, LinkUp whether it is connected to that and in
	// sync.
	Of     string
	LinkUp bool
	// Replicas are the host:port of the replicas connected to a primary.
	Replicas []string
	// Offset is how much of the replication stream it has sent or got, in bytes.
	Offset int64
}

// Role asks for the role.
func (s *Server) Role(ctx context.Context) (Role, error) {
	reply, err := s.Do(ctx, "ROLE")
	if err != nil {
		return Role{}, err
	}
	role, ok := parseRole(reply)
	if !ok {
		return Role{}, fmt.Errorf("redis: ROLE at %s: %w: %v", s.addr, errProtocol, reply)
	}
	return role, nil
}

func parseRole(reply any) (Role, bool) {
	items, _ := reply.([]any)
	if len(items) == 3 && items[0] == "master" {
		offset, _ := items[1].(int64)
		role := Role{Primary: true, Offset: offset}
		replicas, ok := items[2].([]any)
		for _, replica := range replicas {
			words, _ := replica.([]any)
			if len(words) != 3 {
				return Role{}, false
			}
			role.Replicas = append(role.Replicas, net.JoinHostPort(fmt.Sprint(words[0]), fmt.Sprint(words[1])))
		}
		return role, ok
	}
	if len(items) == 5 && items[0] == "slave" {
		offset, ok := items[4].(int64)
		of := net.JoinHostPort(fmt.Sprint(items[1]), fmt.Sprint(items[2]))
		return Role{Of: of, LinkUp: items[3] == "connected", Offset: offset}, ok
	}
	return Role{}, false
}
