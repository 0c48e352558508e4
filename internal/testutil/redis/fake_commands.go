package redis

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	databases    = 16
	errWrongType = ReplyError("WRONGTYPE Operation against a key holding the wrong kind of value")
	errReadOnly  = ReplyError("READONLY You can't write against a read only replica.")
	errUnblocked = ReplyError("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)")
)

// commandTable returns the commands of a fake redis.
func (f *FakeServer) commandTable() map[string]command {
	table := sessionCommands()
	for name, cmd := range map[string]command{
		"GET":      {2, 0, f.get},
		"MGET":     {-2, 0, f.mget},
		"EXISTS":   {-2, 0, f.exists},
		"SET":      {-3, writes, f.set},
		"DEL":      {-2, writes, f.del},
		"INCR":     {2, writes, f.incr},
		"INCRBY":   {3, writes, f.incrBy},
		"EXPIRE":   {3, writes, f.expire},
		"LPUSH":    {-3, writes, f.pushTo},
		"RPUSH":    {-3, writes, f.pushTo},
		"LPOP":     {2, writes, f.popFrom},
		"RPOP":     {2, writes, f.popFrom},
		"BLPOP":    {-3, writes, f.blockingPop},
		"BRPOP":    {-3, writes, f.blockingPop},
		"FLUSHALL": {-1, writes, f.flush},
		"DBSIZE":   {1, 0, f.size},
		"ECHO":     {2, anytime, func(_ *session, args []string) any { return args[1] }},
		"SELECT":   {2, anytime, selectDB},
		"ROLE":     {1, anytime, func(*session, []string) any { return f.roleReply() }},
		"INFO":     {-1, anytime, func(*session, []string) any { return f.info() }},
		"WAIT":     {3, 0, f.waitForReplicas},
		"PUBLISH":  {3, anytime, func(_ *session, args []string) any { return f.bus.publish(args[1], args[2]) }},
		"EVAL":     {-3, 0, f.eval},
		"EVALSHA":  {-3, 0, f.eval},
		"MULTI":    {1, anytime | atOnce, multi},
		"EXEC":     {1, anytime | atOnce, f.exec},
		"DISCARD":  {1, anytime | atOnce, discard},
		"WATCH":    {-2, anytime | atOnce, f.watch},
		"UNWATCH":  {1, anytime, unwatch},
		"RESET":    {1, withoutLogin | anytime | atOnce | whileListening, reset},
	} {
		table[name] = cmd
	}
	for _, name := range f.options.Unknown {
		delete(table, strings.ToUpper(name))
	}
	return table
}

func (f *FakeServer) text(s *session, key string) (entry, bool, any) {
	e, ok := f.store.get(place{s.db, key})
	if ok && e.list != nil {
		return e, ok, errWrongType
	}
	return e, ok, nil
}

func (f *FakeServer) get(s *session, args []string) any {
	e, ok, failure := f.text(s, args[1])
	if failure != nil || !ok {
		return failure
	}
	return e.text
}

func (f *FakeServer) mget(s *session, args []string) any {
	values := make([]any, 0, len(args)-1)
	for _, key := range args[1:] {
		e, ok, failure := f.text(s, key)
		if failure != nil || !ok {
			values = append(values, nil)
			continue
		}
		values = append(values, e.text)
	}
	return values
}

func (f *FakeServer) exists(s *session, args []string) any {
	found := int64(0)
	for _, key := range args[1:] {
		if _, ok := f.store.get(place{s.db, key}); ok {
			found++
		}
	}
	return found
}

func (f *FakeServer) set(s *session, args []string) any {
	at := place{s.db, args[1]}
	e := entry{text: args[2]}
	_, exists := f.store.get(at)
	store := true
	for i := 3; i < len(args); i++ {
		switch option := strings.ToUpper(args[i]); option {
		case "NX":
			store = store && !exists
		case "XX":
			store = store && exists
		case "EX", "PX":
			i++
			if i == len(args) {
				return errSyntax
			}
			n, err := strconv.Atoi(args[i])
			if err != nil {
				return errNotInt
			}
			if n <= 0 {
				return ReplyError("ERR invalid expire time in 'set' command")
			}
			unit := time.Second
			if option == "PX" {
				unit = time.Millisecond
			}
			e.expires = time.Now().Add(time.Duration(n) * unit)
		default:
			return errSyntax
		}
	}
	if !store {
		return nil
	}
	f.store.put(at, e)
	return status("OK")
}

func (f *FakeServer) del(s *session, args []string) any {
	deleted := int64(0)
	for _, key := range args[1:] {
		if f.store.delete(place{s.db, key}) {
			deleted++
		}
	}
	return deleted
}

func (f *FakeServer) list(s *session, key string) (entry, bool, any) {
	e, ok := f.store.get(place{s.db, key})
	if ok && e.list == nil {
		return e, ok, errWrongType
	}
	return e, ok, nil
}

func (f *FakeServer) pushTo(s *session, args []string) any {
	e, _, failure := f.list(s, args[1])
	if failure != nil {
		return failure
	}
	list := slices.Clone(e.list)
	for _, value := range args[2:] {
		if strings.EqualFold(args[0], "LPUSH") {
			list = slices.Insert(list, 0, value)
		} else {
			list = append(list, value)
		}
	}
	f.store.put(place{s.db, args[1]}, entry{list: list, expires: e.expires})
	f.wakeLocked()
	return int64(len(list))
}

// end returns the index of the element that a verb such as BRPOP takes.
func end(verb string, list []string) int {
	if strings.HasSuffix(strings.ToUpper(verb), "RPOP") {
		return len(list) - 1
	}
	return 0
}

func (f *FakeServer) popFrom(s *session, args []string) any {
	e, ok, failure := f.list(s, args[1])
	if failure != nil || !ok {
		return failure
	}
	return f.store.pop(place{s.db, args[1]}, e, end(args[0], e.list))
}

func (f *FakeServer) blockingPop(s *session, args []string) any {
	seconds, err := strconv.ParseFloat(args[len(args)-1], 64)
	if err != nil {
		return ReplyError("ERR timeout is not a float or out of range")
	}
	if seconds < 0 {
		return ReplyError("ERR timeout is negative")
	}
	db := s.db
	try := func() (any, bool) {
		if !f.role.Primary {
			return errUnblocked, true
		}
		for _, key := range args[1 : len(args)-1] {
			e, ok, failure := f.list(&session{db: db}, key)
			if failure != nil {
				return failure, true
			}
			if ok {
				return []any{key, f.store.pop(place{db, key}, e, end(args[0], e.list))}, true
			}
		}
		return nil, false
	}
	if s.multi {
		if result, done := try(); done {
			return result
		}
		return nullArray{}
	}
	return waiting{time.Duration(seconds * float64(time.Second)), try, func() any { return nullArray{} }}
}

func (f *FakeServer) flush(*session, []string) any {
	for at := range f.store.data {
		f.store.delete(at)
	}
	return status("OK")
}

func (f *FakeServer) size(s *session, _ []string) any {
	n := int64(0)
	for at, e := range f.store.data {
		if at.db == s.db && !e.dead() {
			n++
		}
	}
	return n
}

func selectDB(s *session, args []string) any {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return errNotInt
	}
	if n < 0 || n >= databases {
		return ReplyError("ERR DB index is out of range")
	}
	s.db = n
	return status("OK")
}

func (f *FakeServer) waitForReplicas(s *session, args []string) any {
	wanted, err := strconv.Atoi(args[1])
	if err != nil {
		return errNotInt
	}
	millis, err := strconv.Atoi(args[2])
	if err != nil {
		return ReplyError("ERR timeout is not an integer or out of range")
	}
	if !f.role.Primary {
		return ReplyError("ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.")
	}
	replicas := func() any { return int64(len(f.role.Replicas)) }
	if s.multi {
		return replicas()
	}
	return waiting{time.Duration(millis) * time.Millisecond, func() (any, bool) { return replicas(), len(f.role.Replicas) >= wanted }, replicas}
}

func (f *FakeServer) eval(*session, []string) any { return f.options.Eval }

func multi(s *session, _ []string) any {
	if s.multi {
		return ReplyError("ERR MULTI calls can not be nested")
	}
	s.multi = true
	return status("OK")
}

func (s *session) endMulti() {
	s.multi, s.broken, s.queue, s.watched = false, false, nil, nil
}

func discard(s *session, _ []string) any {
	if !s.multi {
		return ReplyError("ERR DISCARD without MULTI")
	}
	s.endMulti()
	return status("OK")
}

// exec carries out the queued commands in one go, because the state is locked meanwhile.
func (f *FakeServer) exec(s *session, _ []string) any {
	if !s.multi {
		return ReplyError("ERR EXEC without MULTI")
	}
	defer s.endMulti()
	if s.broken {
		return ReplyError("EXECABORT Transaction discarded because of previous errors.")
	}
	for at, version := range s.watched {
		if f.store.get(at); f.store.versions[at] != version {
			return nullArray{}
		}
	}
	results := make([]any, 0, len(s.queue))
	for _, args := range s.queue {
		cmd := f.commands[strings.ToUpper(args[0])]
		if failure := f.refuse(cmd.traits); failure != "" {
			return ReplyError("EXECABORT Transaction discarded because of: " + string(failure))
		}
		results = append(results, cmd.run(s, args))
	}
	return results
}

func (f *FakeServer) watch(s *session, args []string) any {
	if s.multi {
		return ReplyError("ERR WATCH inside MULTI is not allowed")
	}
	if s.watched == nil {
		s.watched = make(map[place]uint64)
	}
	for _, key := range args[1:] {
		at := place{s.db, key}
		if _, ok := s.watched[at]; !ok {
			s.watched[at] = f.store.versions[at]
		}
	}
	return status("OK")
}

func unwatch(s *session, _ []string) any {
	s.watched = nil
	return status("OK")
}

func reset(s *session, _ []string) any {
	s.node().bus.leave(s.c)
	s.reset(s.c)
	return status("RESET")
}

func (f *FakeServer) roleReply() any {
	if !f.role.Primary {
		host, port := splitAddr(f.role.Of)
		link := "connect"
		if f.role.LinkUp {
			link = "connected"
		}
		return []any{"slave", host, int64(port), link, f.role.Offset}
	}
	replicas := make([]any, 0, len(f.role.Replicas))
	for _, addr := range f.role.Replicas {
		host, port := splitAddr(addr)
		replicas = append(replicas, []any{host, strconv.Itoa(port), strconv.FormatInt(f.role.Offset, 10)})
	}
	return []any{"master", f.role.Offset, replicas}
}

func (f *FakeServer) info() string {
	_, port := splitAddr(f.addr)
	text := fmt.Sprintf("# Server\r\nredis_version:%s\r\nredis_mode:standalone\r\nrun_id:%s\r\ntcp_port:%d\r\n\r\n# Replication\r\n",
		fakeVersion, runID(f.addr), port)
	if f.role.Primary {
		return text + fmt.Sprintf("role:master\r\nconnected_slaves:%d\r\nmaster_repl_offset:%d\r\n", len(f.role.Replicas), f.role.Offset)
	}
	host, port := splitAddr(f.role.Of)
	link := "down"
	if f.role.LinkUp {
		link = "up"
	}
	return text + fmt.Sprintf("role:slave\r\nmaster_host:%s\r\nmaster_port:%d\r\nmaster_link_status:%s\r\nslave_repl_offset:%d\r\nslave_priority:100\r\n",
		host, port, link, f.role.Offset)
}

// splitAddr returns the parts of a host:port; the port is 0 if there is none.
func splitAddr(addr string) (string, int) {
	host, text, _ := net.SplitHostPort(addr)
	port, _ := strconv.Atoi(text)
	return host, port
}
