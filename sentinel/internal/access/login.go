package access

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/signals"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// login is a user and a password; the zero value is none.
type login struct{ user, password string }

// auth is the command that logs in.
func (l login) auth() []string {
	if l.user == "" {
		return []string{"AUTH", l.password}
	}
	return []string{"AUTH", l.user, l.password}
}

// session is what a connection was last logged in as.
type session struct {
	addr   string
	as     login
	shared bool // its login may change at any time: nobody has it for himself
}

// logins are the connections that live, if their credentials may change.
type logins struct {
	mu     sync.Mutex
	of     map[*wire.Conn]session // guarded by mu
	latest map[string]login       // by address, what Credentials returned last; guarded by mu
}

func (l *logins) add(conn *wire.Conn, s session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of, l.latest = make(map[*wire.Conn]session), make(map[string]login)
	}
	for old := range l.of {
		if old.Err() != nil {
			delete(l.of, old)
		}
	}
	l.of[conn], l.latest[s.addr] = s, s.as
}

// addrs are where connections live; those of others are forgotten.
func (l *logins) addrs() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	live := make(map[string]bool)
	for conn, s := range l.of {
		if conn.Err() != nil {
			delete(l.of, conn)
			continue
		}
		live[s.addr] = true
	}
	for addr := range l.latest {
		if !live[addr] {
			delete(l.latest, addr)
		}
	}
	return live
}

// outdated are the shared connections to an address that are logged in otherwise.
func (l *logins) outdated(addr string, as login) []*wire.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latest[addr] = as
	var conns []*wire.Conn
	for conn, s := range l.of {
		if s.addr == addr && s.shared && s.as != as {
			conns = append(conns, conn)
		}
	}
	return conns
}

// due returns what a connection has to log in as.
func (l *logins) due(conn *wire.Conn) (as login, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.of[conn]
	if !ok {
		return login{}, false
	}
	as, known := l.latest[s.addr]
	return as, known && as != s.as
}

func (l *logins) done(conn *wire.Conn, as login) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok := l.of[conn]; ok {
		s.as = as
		l.of[conn] = s
	}
}

// login returns what to log in with at an address. It runs the user's own code, which must not take
// the process down with it.
func (d *Connector) login(ctx context.Context, addr string) (as login, err error) {
	e := d.Endpoint
	if e.Credentials == nil {
		return login{user: e.Username, password: e.Password}, nil
	}
	defer func() {
		if p := recover(); p != nil {
			as, err = login{}, fmt.Errorf("Options.%s.Credentials panicked: %v", d.Field, p)
		}
	}()
	if as.user, as.password, err = e.Credentials(ctx, addr); err != nil {
		return login{}, fmt.Errorf("%w: Options.%s.Credentials for %s: %w", ErrNoCredentials, d.Field, addr, err)
	}
	return as, nil
}

// KeepLogins asks for credentials now and then, and logs the connections in anew, until ctx ends.
// Where they do not change it returns at once.
func (d *Connector) KeepLogins(ctx context.Context) {
	if !d.rotates() {
		return
	}
	for signals.Sleep(ctx, d.Endpoint.CredentialsRefresh, nil) {
		for addr := range d.logins.addrs() {
			if err := d.keepLogin(ctx, addr); err != nil && ctx.Err() == nil {
				d.Log.Warn("login not renewed", observe.Cause(err), "addr", addr)
			}
		}
	}
}

// rotates reports whether the credentials may change.
func (d *Connector) rotates() bool {
	return d.Endpoint.Credentials != nil && d.Endpoint.CredentialsRefresh > 0
}

// keepLogin logs the shared connections to an address in anew, if its credentials have changed.
// Those that are refused are asked for once more.
func (d *Connector) keepLogin(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, d.DialTimeout)
	defer cancel()
	var refused error
	for range 2 {
		as, err := d.login(ctx, addr)
		if err != nil {
			return err
		}
		refused = nil
		for _, conn := range d.logins.outdated(addr, as) {
			if err := d.relogin(ctx, conn, as); refusesLogin(err) {
				refused = d.Judged(err)
			}
		}
		if refused == nil {
			return nil
		}
	}
	return refused
}

// relogin sends the login among the commands of others: those before it run as the old user, those
// after it as the new. One that is refused changes nothing.
func (d *Connector) relogin(ctx context.Context, conn *wire.Conn, as login) error {
	args := as.auth()
	if as == (login{}) {
		return nil // there is no way back
	}
	err := conn.Do(ctx, radix.Cmd(nil, args[0], args[1:]...))
	if err != nil && d.forgives(err) {
		err = nil
	}
	if err == nil {
		d.logins.done(conn, as)
	}
	return err
}

// Renew logs a connection in anew that is about to be used by one caller, if its credentials have
// changed.
func (d *Connector) Renew(ctx context.Context, conn *wire.Conn) error {
	if d.Endpoint.Credentials == nil {
		return nil
	}
	as, due := d.logins.due(conn)
	if !due {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, max(d.DialTimeout, time.Millisecond))
	defer cancel()
	return d.relogin(ctx, conn, as)
}

// ErrNoCredentials is part of the error where Endpoint.Credentials returned one.
var ErrNoCredentials = errors.New("there are no credentials")

// refusesLogin reports whether a login was refused, rather than a command for want of rights.
func refusesLogin(err error) bool {
	return RefusesCredentials(err) && !RefusesRights(err)
}
