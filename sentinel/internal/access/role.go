package access

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// Role is a server's own word on its role.
type Role struct {
	Primary bool
	// Offset is that of replication, in bytes.
	Offset int64
	// Linked: a replica's link to its primary is up.
	Linked bool
	// Curt: the user may not ask for offset and link.
	Curt bool
}

// Inquirer asks one server for its role: by ROLE, or by INFO if the user may not send that, or else
// by HELLO, which tells no offset. It is for one goroutine at a time.
type Inquirer struct {
	servers *Connector
	way     int       // the first that was not refused
	again   time.Time // when those before it are tried anew
}

// inquiries are the ways to ask, and regrantedAfter is how often it is tried whether the user may
// by now go a better one.
const (
	byRole = iota
	byInfo
	byHello
	inquiries

	regrantedAfter = time.Minute

	// runIDLength is how long a run_id of redis is.
	runIDLength = 40
)

// NewInquirer returns an Inquirer that asks over connections of servers.
func NewInquirer(servers *Connector) Inquirer { return Inquirer{servers: servers} }

// Ask asks for the role.
func (q *Inquirer) Ask(ctx context.Context, conn *wire.Conn) (Role, error) {
	if q.way > byRole && time.Now().After(q.again) {
		q.way = byRole
	}
	var refusals []error
	for ; q.way < inquiries; q.way++ {
		r, err := q.inquire(ctx, conn)
		if !refusesCommand(err) {
			return r, q.servers.Judged(err)
		}
		refusals = append(refusals, err)
		q.again = time.Now().Add(regrantedAfter)
	}
	q.way = byRole
	return Role{}, fmt.Errorf("%w: %w", q.servers.Refused, Permit(q.servers.UserOf(conn), errors.Join(refusals...), "role"))
}

func (q *Inquirer) inquire(ctx context.Context, conn *wire.Conn) (Role, error) {
	switch q.way {
	case byRole:
		var parts []any
		if err := conn.Do(ctx, radix.Cmd(&parts, "ROLE")); err != nil {
			return Role{}, err
		}
		return parseRole(parts)
	case byInfo:
		var text string
		if err := conn.Do(ctx, radix.Cmd(&text, "INFO", "replication")); err != nil {
			return Role{}, err
		}
		return parseInfo(text)
	default:
		var fields map[string]any
		if err := conn.Do(ctx, radix.Cmd(&fields, "HELLO", strconv.Itoa(q.servers.Protocol))); err != nil {
			return Role{}, err
		}
		return parseHello(fields)
	}
}

// ProcessID asks a server which process it is. It is empty if the server does not tell: its user
// may not ask, or it has no identifier.
func (q *Inquirer) ProcessID(ctx context.Context, conn *wire.Conn) (string, error) {
	var text string
	if err := conn.Do(ctx, radix.Cmd(&text, "INFO", "server")); err != nil {
		if _, refused := wire.ErrorReply(err); refused {
			err = nil
		}
		return "", q.servers.Judged(err)
	}
	return parseProcessID(text), nil
}

// parseProcessID reads the section on the server of INFO. A malformed identifier, such as one of
// zeroes alone, is not taken for one.
func parseProcessID(info string) string {
	for line := range strings.Lines(info) {
		id, ok := strings.CutPrefix(strings.TrimSpace(line), "run_id:")
		if ok && len(id) == runIDLength && strings.Trim(id, id[:1]) != "" {
			return id
		}
	}
	return ""
}

var errSentinelAnswers = errors.New("a sentinel answers where a server is expected")

// parseRole reads ["master", offset, [replicas]] or ["slave", host, port, link, offset].
func parseRole(parts []any) (Role, error) {
	part := func(i int) any {
		if i >= len(parts) {
			return nil
		}
		return parts[i]
	}
	number := func(i int) int64 {
		n, _ := part(i).(int64) // an absent offset is 0
		return n
	}
	switch textOf(part(0)) {
	case "master":
		return Role{Primary: true, Offset: number(1)}, nil
	case "slave":
		return Role{Linked: textOf(part(3)) == "connected", Offset: number(4)}, nil
	case "sentinel":
		return Role{}, errSentinelAnswers
	}
	return Role{}, fmt.Errorf("ROLE answered %.80q", fmt.Sprint(parts...))
}

// textOf is a string of a reply, empty if it is something else.
func textOf(of any) string {
	switch v := of.(type) {
	case []byte:
		return string(v)
	case string:
		return v
	}
	return ""
}

// parseInfo reads the section on replication of INFO.
func parseInfo(info string) (Role, error) {
	fields := make(map[string]string)
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	number := func(field string) int64 {
		n, err := strconv.ParseInt(fields[field], 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	switch fields["role"] {
	case "master":
		return Role{Primary: true, Offset: number("master_repl_offset")}, nil
	case "slave":
		return Role{Linked: fields["master_link_status"] == "up", Offset: number("slave_repl_offset")}, nil
	}
	return Role{}, fmt.Errorf("INFO replication answered %.80q", info)
}

// parseHello reads the reply to HELLO.
func parseHello(fields map[string]any) (Role, error) {
	switch is := textOf(fields["role"]); {
	case textOf(fields["mode"]) == "sentinel":
		return Role{}, errSentinelAnswers
	case is == "master":
		return Role{Primary: true, Curt: true}, nil
	case is == "replica":
		return Role{Linked: true, Curt: true}, nil
	}
	return Role{}, fmt.Errorf("HELLO answered %.80q", fmt.Sprint(fields))
}
