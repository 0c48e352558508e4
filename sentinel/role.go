package sentinel

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

// role is what a server says that it is.
type role struct {
	primary bool
	offset  int64 // of replication, in bytes
	linked  bool  // a replica's link to its primary is up
	curt    bool  // the user may not ask for offset and link
}

// inquirer asks one server for its role: by ROLE, or by INFO if the user may not send that, or else by HELLO, which tells no offset. It is
// for one goroutine at a time.
type inquirer struct {
	servers *connector
	way     int       // the first that was not refused
	again   time.Time // when those before it are tried anew
}

// inquiries are the ways to ask, and regrantedAfter is how often it is tried whether the user may by now go a better one.
const (
	byRole = iota
	byInfo
	byHello
	inquiries

	regrantedAfter = time.Minute

	// runIDLength is how long a run_id of redis is.
	runIDLength = 40
)

func (q *inquirer) ask(ctx context.Context, conn *wire.Conn) (role, error) {
	if q.way > byRole && time.Now().After(q.again) {
		q.way = byRole
	}
	var refusals []error
	for ; q.way < inquiries; q.way++ {
		r, err := q.inquire(ctx, conn)
		if !refusesCommand(err) {
			return r, q.servers.judged(err)
		}
		refusals = append(refusals, err)
		q.again = time.Now().Add(regrantedAfter)
	}
	q.way = byRole
	return role{}, fmt.Errorf("%w: %w", ErrServerAuth, permit(q.servers.userOf(conn), errors.Join(refusals...), "role"))
}

func (q *inquirer) inquire(ctx context.Context, conn *wire.Conn) (role, error) {
	switch q.way {
	case byRole:
		var parts []any
		if err := conn.Do(ctx, radix.Cmd(&parts, "ROLE")); err != nil {
			return role{}, err
		}
		return parseRole(parts)
	case byInfo:
		var text string
		if err := conn.Do(ctx, radix.Cmd(&text, "INFO", "replication")); err != nil {
			return role{}, err
		}
		return parseInfo(text)
	default:
		var fields map[string]any
		if err := conn.Do(ctx, radix.Cmd(&fields, "HELLO", strconv.Itoa(q.servers.protocol))); err != nil {
			return role{}, err
		}
		return parseHello(fields)
	}
}

// processID asks a server which process it is. It is empty if the server does not tell: its user may not ask, or it has no identifier.
func (q *inquirer) processID(ctx context.Context, conn *wire.Conn) (string, error) {
	var text string
	if err := conn.Do(ctx, radix.Cmd(&text, "INFO", "server")); err != nil {
		if _, refused := errorReply(err); refused {
			err = nil
		}
		return "", q.servers.judged(err)
	}
	return parseProcessID(text), nil
}

// parseProcessID reads the section on the server of INFO. What is no identifier, such as one of zeroes alone, is not taken for one.
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
func parseRole(parts []any) (role, error) {
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
		return role{primary: true, offset: number(1)}, nil
	case "slave":
		return role{linked: textOf(part(3)) == "connected", offset: number(4)}, nil
	case "sentinel":
		return role{}, errSentinelAnswers
	}
	return role{}, fmt.Errorf("ROLE answered %.80q", fmt.Sprint(parts...))
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
func parseInfo(info string) (role, error) {
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
		return role{primary: true, offset: number("master_repl_offset")}, nil
	case "slave":
		return role{linked: fields["master_link_status"] == "up", offset: number("slave_repl_offset")}, nil
	}
	return role{}, fmt.Errorf("INFO replication answered %.80q", info)
}

// parseHello reads the reply to HELLO.
func parseHello(fields map[string]any) (role, error) {
	switch is := textOf(fields["role"]); {
	case textOf(fields["mode"]) == "sentinel":
		return role{}, errSentinelAnswers
	case is == "master":
		return role{primary: true, curt: true}, nil
	case is == "replica":
		return role{linked: true, curt: true}, nil
	}
	return role{}, fmt.Errorf("HELLO answered %.80q", fmt.Sprint(fields))
}
