package redis

import (
	"context"
	"crypto/sha1"
	"fmt"
	"maps"
	"slices"
)

const fakeVersion = "7.0.15"

// Condition is what keeps a fake redis from answering commands on data.
type Condition string

// The conditions of a server.
const (
	Ready      Condition = ""
	Loading    Condition = "LOADING Redis is loading the dataset in memory"
	MasterDown Condition = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
)

// FakeServerOptions says how a FakeServer is made. The zero value is an empty primary without a
// password.
type FakeServerOptions struct {
	// Addr is the made-up address under which FakeNet finds it. Default: a free one, such as
	// "10.0.0.1:6379".
	Addr string
	// Password is that of the default user, Users are further ones with theirs. Default: none.
	Password string
	Users    map[string]string
	// Unknown are commands that it does not know, such as "HELLO" for an old redis. Default: none.
	Unknown []string
	// Eval is what EVAL and EVALSHA answer: nil, a string, an int64, a ReplyError or []any of
	// these. Default: nil.
	Eval any

	tcp bool // listens on a free port of 127.0.0.1 instead
}

// FakeServer is a redis in this process that can be told to misbehave. It has no useful zero value;
// FakeNet.Server makes one. It is a testutil.Server and safe for concurrent use.
//
// It knows the strings and lists that a client of ours is tested with, transactions, publishing,
// blocking commands and both protocol versions, and answers as redis 7.0 does. What it is to
// others, ROLE says and the test sets.
type FakeServer struct {
	node
	options FakeServerOptions

	// The following are guarded by node.state.
	store     *store
	role      Role
	condition Condition
	followers map[*stream]struct{}
	following *stream // nil if there is none
}

func newFakeServer(ctx context.Context, o FakeServerOptions) (*FakeServer, error) {
	f := &FakeServer{options: o, role: Role{Primary: true}, followers: make(map[*stream]struct{})}
	f.store = newStore(f.replicateLocked)
	f.addr, f.tcp = o.Addr, o.tcp
	f.access = newAccess(o.Password, o.Users)
	f.commands = f.commandTable()
	f.refuse = f.refuseLocked
	f.about = func() []any {
		if f.role.Primary {
			return []any{"mode", "standalone", "role", "master"}
		}
		return []any{"mode", "standalone", "role", "replica"}
	}
	f.onKill = f.forget
	if err := f.start(ctx); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *FakeServer) refuseLocked(traits trait) ReplyError {
	switch {
	case f.condition != Ready && traits&anytime == 0:
		return ReplyError(f.condition)
	case !f.role.Primary && traits&writes != 0:
		return errReadOnly
	default:
		return ""
	}
}

// forget drops the data and ends replication, as the end of a process does.
func (f *FakeServer) forget() {
	f.state.Lock()
	f.store.clear()
	followers := slices.Collect(maps.Keys(f.followers))
	f.state.Unlock()
	for _, s := range followers {
		s.end()
	}
	f.unfollow()
}

// SetRole sets the role it reports. A replica refuses writes and unblocks clients that wait in a
// blocking command. The data stays.
func (f *FakeServer) SetRole(role Role) {
	f.state.Lock()
	defer f.state.Unlock()
	f.role = role
	f.wakeLocked()
}

// Role returns the role it reports.
func (f *FakeServer) Role() Role {
	f.state.Lock()
	defer f.state.Unlock()
	role := f.role
	role.Replicas = slices.Clone(role.Replicas)
	return role
}

// SetCondition makes it answer commands on data with an error, until it is Ready again.
func (f *FakeServer) SetCondition(c Condition) {
	f.state.Lock()
	defer f.state.Unlock()
	f.condition = c
}

// Snapshot returns the strings in database 0.
func (f *FakeServer) Snapshot() map[string]string {
	f.state.Lock()
	defer f.state.Unlock()
	found := make(map[string]string)
	for at, e := range f.store.data {
		if at.db == 0 && e.list == nil && !e.dead() {
			found[at.key] = e.text
		}
	}
	return found
}

// Publish sends a message to all subscribers and returns how many there are.
func (f *FakeServer) Publish(channel, payload string) int {
	return int(f.bus.publish(channel, payload))
}

// runID returns 40 hexadecimal digits.
func runID(addr string) string {
	return fmt.Sprintf("%x", sha1.Sum([]byte(addr)))
}
