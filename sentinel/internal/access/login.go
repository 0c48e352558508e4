package access

import (
	"sync"

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

// session is the last login of a connection.
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

// due returns the login that a connection lacks.
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

func (l *logins) user(conn *wire.Conn) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of[conn].as.user
}
