package redis

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const defaultUser = "default"

const (
	errSyntax    = ReplyError("ERR syntax error")
	errNoAuth    = ReplyError("NOAUTH Authentication required.")
	errWrongPass = ReplyError("WRONGPASS invalid username-password pair or user is disabled.")
	errNotInt    = ReplyError("ERR value is not an integer or out of range")
	errNoHello   = ReplyError("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time")
	errNoDefault = ReplyError("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
)

// trait is a special property of a command.
type trait uint

const (
	writes         trait = 1 << iota // refused by replicas
	withoutLogin                     // possible before AUTH
	anytime                          // possible while the server loads or has lost its primary
	atOnce                           // carried out within MULTI instead of queued
	whileListening                   // possible on a RESP2 connection that has subscribed
)

// command is one that a node knows. arity counts the name; a negative one is the least.
type command struct {
	arity  int
	traits trait
	run    func(s *session, args []string) any // with the node's state locked
}

// waiting is the result of a command that blocks: try is called with the state locked, now and
// whenever it has changed, until it says that it is done.
type waiting struct {
	timeout   time.Duration // 0: for ever
	try       func() (result any, done bool)
	otherwise func() any // after the time-out
}

// access holds who may log in.
type access struct {
	mu    sync.Mutex
	users map[string]string // guarded by mu; password by name; the default user is let in without one if that is ""
}

func newAccess(password string, users map[string]string) access {
	all := map[string]string{defaultUser: password}
	maps.Copy(all, users)
	return access{users: all}
}

func (a *access) check(user, password string) any {
	a.mu.Lock()
	defer a.mu.Unlock()
	if want, ok := a.users[user]; !ok || want != password {
		return errWrongPass
	}
	return status("OK")
}

// open reports whether the default user needs no password.
func (a *access) open() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	password, ok := a.users[defaultUser]
	return ok && password == ""
}

// SetUser lets a user log in with a password; "default" with the password "" means everybody.
func (n *node) SetUser(user, password string) {
	n.access.mu.Lock()
	defer n.access.mu.Unlock()
	n.access.users[user] = password
}

// RemoveUser cuts off a user: the connections that are logged in so are closed, and new logins
// refused.
func (n *node) RemoveUser(user string) {
	n.access.mu.Lock()
	delete(n.access.users, user)
	n.access.mu.Unlock()
	n.mu.Lock()
	l := n.life
	n.mu.Unlock()
	for _, c := range l.all() {
		if name := c.user.Load(); name != nil && *name == user {
			c.close()
		}
	}
}

// replyMode is what CLIENT REPLY sets.
type replyMode int

const (
	replyOn replyMode = iota
	replyOff
	replySkipNext
	replySkip
)

// session is the state of a connection. It belongs to the goroutine that carries its
// commands out.
type session struct {
	c       *fakeConn
	name    string
	db      int
	multi   bool
	broken  bool // a command could not be queued
	queue   [][]string
	watched map[place]uint64
	mode    replyMode
}

func (s *session) reset(c *fakeConn) {
	*s = session{c: c}
	c.proto.Store(2)
	c.user.Store(nil)
	if c.life.node.access.open() {
		s.login(defaultUser)
	}
}

func (s *session) login(user string) { s.c.user.Store(&user) }

func (s *session) node() *node { return s.c.life.node }

// run carries out one command and returns the answer.
func (s *session) run(args []string) any {
	result := s.dispatch(args)
	switch s.mode {
	case replyOff:
		return silence{}
	case replySkipNext:
		s.mode = replySkip
		return silence{}
	case replySkip:
		s.mode = replyOn
		return silence{}
	}
	return result
}

func (s *session) dispatch(args []string) any {
	verb := strings.ToUpper(args[0])
	cmd, known := s.node().commands[verb]
	if failure := s.refusal(cmd, known, args); failure != "" {
		s.broken = s.broken || s.multi
		return failure
	}
	if s.multi && cmd.traits&atOnce == 0 {
		s.queue = append(s.queue, args)
		return status("QUEUED")
	}
	s.node().state.Lock()
	result := cmd.run(s, args)
	s.node().state.Unlock()
	if w, ok := result.(waiting); ok {
		return s.wait(w)
	}
	return result
}

// refusal says why a command is not carried out, "" if it is.
func (s *session) refusal(cmd command, known bool, args []string) ReplyError {
	verb := strings.ToLower(args[0])
	switch {
	case !known:
		return unknownCommand(args)
	case cmd.arity >= 0 && len(args) != cmd.arity, len(args) < -cmd.arity:
		return ReplyError(fmt.Sprintf("ERR wrong number of arguments for '%s' command", verb))
	case s.c.user.Load() == nil && cmd.traits&withoutLogin == 0:
		return errNoAuth
	case s.c.proto.Load() == 2 && cmd.traits&whileListening == 0 && s.node().bus.count(s.c) > 0:
		return ReplyError(fmt.Sprintf("ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context", verb))
	}
	s.node().state.Lock()
	defer s.node().state.Unlock()
	return s.node().refuse(cmd.traits)
}

func unknownCommand(args []string) ReplyError {
	var rest strings.Builder
	for _, arg := range args[1:] {
		fmt.Fprintf(&rest, "'%.128s' ", arg)
	}
	return ReplyError(fmt.Sprintf("ERR unknown command '%.128s', with args beginning with: %s", args[0], rest.String()))
}

// wait tries until the command is done, its time is over or the connection has ended.
func (s *session) wait(w waiting) any {
	var timeout <-chan time.Time
	if w.timeout > 0 {
		timer := time.NewTimer(w.timeout)
		defer timer.Stop()
		timeout = timer.C
	}
	for {
		s.node().state.Lock()
		result, done := w.try()
		changed := s.node().changesLocked()
		s.node().state.Unlock()
		if done {
			return result
		}
		select {
		case <-changed:
		case <-timeout:
			s.node().state.Lock()
			defer s.node().state.Unlock()
			return w.otherwise()
		case <-s.c.gone:
			return silence{}
		case <-s.c.done:
			return silence{}
		}
	}
}

// sessionCommands are those of a redis and of a sentinel alike.
func sessionCommands() map[string]command {
	return map[string]command{
		"AUTH":         {-2, withoutLogin | anytime | atOnce, (*session).auth},
		"HELLO":        {-1, withoutLogin | anytime | atOnce, (*session).hello},
		"QUIT":         {-1, withoutLogin | anytime | atOnce | whileListening, func(*session, []string) any { return status("OK") }},
		"PING":         {-1, whileListening, (*session).ping},
		"CLIENT":       {-2, anytime, (*session).client},
		"SUBSCRIBE":    {-2, anytime | whileListening, (*session).subscribe},
		"PSUBSCRIBE":   {-2, anytime | whileListening, (*session).subscribe},
		"UNSUBSCRIBE":  {-1, anytime | whileListening, (*session).unsubscribe},
		"PUNSUBSCRIBE": {-1, anytime | whileListening, (*session).unsubscribe},
		"COMMAND":      {-1, anytime, func(*session, []string) any { return []any{} }},
	}
}

func (s *session) auth(args []string) any {
	if len(args) > 3 {
		return errSyntax
	}
	user, password := defaultUser, args[len(args)-1]
	if len(args) == 3 {
		user = args[1]
	} else if s.node().access.open() {
		return errNoDefault
	}
	result := s.node().access.check(user, password)
	if result == status("OK") {
		s.login(user)
	}
	return result
}

func (s *session) hello(args []string) any {
	proto := s.c.proto.Load()
	if len(args) > 1 {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return ReplyError("ERR Protocol version is not an integer or out of range")
		}
		if n != 2 && n != 3 {
			return ReplyError("NOPROTO unsupported protocol version")
		}
		proto = int32(n)
	}
	name := s.name
	for i := 2; i < len(args); i++ {
		switch option := strings.ToUpper(args[i]); {
		case option == "AUTH" && i+2 < len(args):
			if result := s.node().access.check(args[i+1], args[i+2]); result != status("OK") {
				return result
			}
			s.login(args[i+1])
			i += 2
		case option == "SETNAME" && i+1 < len(args):
			name = args[i+1]
			i++
		default:
			return ReplyError(fmt.Sprintf("ERR Syntax error in HELLO option '%s'", args[i]))
		}
	}
	if s.c.user.Load() == nil {
		return errNoHello
	}
	s.name = name
	s.c.proto.Store(proto)
	answer := pairs{"server", "redis", "version", fakeVersion, "proto", int64(proto), "id", int64(s.c.id)}
	return append(append(answer, s.node().about()...), "modules", []any{})
}

func (s *session) ping(args []string) any {
	switch {
	case len(args) > 2:
		return ReplyError("ERR wrong number of arguments for 'ping' command")
	case s.c.proto.Load() == 2 && s.node().bus.count(s.c) > 0:
		return []any{"pong", strings.Join(args[1:], "")}
	case len(args) == 2:
		return args[1]
	default:
		return status("PONG")
	}
}

func (s *session) client(args []string) any {
	option := ""
	if len(args) > 2 {
		option = args[2]
	}
	switch verb := strings.ToUpper(args[1]); verb {
	case "ID":
		return int64(s.c.id)
	case "GETNAME":
		if s.name == "" {
			return nil
		}
		return s.name
	case "SETNAME":
		if strings.ContainsAny(option, " \n\r") {
			return ReplyError("ERR Client names cannot contain spaces, newlines or special characters.")
		}
		s.name = option
		return status("OK")
	case "LIST":
		return s.clientList()
	case "NO-EVICT":
		if strings.EqualFold(option, "on") || strings.EqualFold(option, "off") {
			return status("OK")
		}
		return errSyntax
	case "REPLY":
		return s.clientReply(strings.ToUpper(option))
	default:
		return ReplyError(fmt.Sprintf("ERR unknown subcommand '%.128s'. Try CLIENT HELP.", args[1]))
	}
}

func (s *session) clientReply(mode string) any {
	switch mode {
	case "ON":
		s.mode = replyOn
		return status("OK")
	case "OFF":
		s.mode = replyOff
		return silence{}
	case "SKIP":
		if s.mode == replyOn {
			s.mode = replySkipNext
		}
		return silence{}
	default:
		return errSyntax
	}
}

func (s *session) clientList() string {
	all := s.c.life.all()
	slices.SortFunc(all, func(a, b *fakeConn) int { return cmp.Compare(a.id, b.id) })
	var list strings.Builder
	for _, c := range all {
		fmt.Fprintf(&list, "id=%d laddr=%s resp=%d\n", c.id, s.node().addr, c.proto.Load())
	}
	return list.String()
}

func (s *session) subscribe(args []string) any {
	if s.multi {
		return ReplyError("ERR Command not allowed inside a transaction")
	}
	s.node().bus.subscribe(s.c, strings.ToLower(args[0]), args[1:])
	return silence{}
}

func (s *session) unsubscribe(args []string) any {
	s.node().bus.unsubscribe(s.c, strings.ToLower(args[0]), args[1:])
	return silence{}
}
