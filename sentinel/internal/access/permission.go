package access

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// What the user of a login may send:
// https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/.

const defaultUser = "default"

// refusesCommand reports whether an error reply is about a command that this user, or nobody, may
// send.
func refusesCommand(err error) bool {
	text, ok := wire.ErrorReply(err)
	return ok && (strings.HasPrefix(text, "NOPERM") || strings.HasPrefix(text, "ERR unknown command"))
}

// RefusesCredentials reports whether an error reply is about user or password.
func RefusesCredentials(err error) bool {
	text, ok := wire.ErrorReply(err)
	if !ok {
		return false
	}
	for _, prefix := range []string{"NOAUTH", "WRONGPASS", "NOPERM", "ERR invalid password", "ERR AUTH", "ERR Client sent AUTH"} {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}

// RefusesRights reports whether an error reply is about what the user may do, and nothing else is
// wrong with the login.
func RefusesRights(err error) bool {
	text, ok := wire.ErrorReply(err)
	return ok && strings.HasPrefix(text, "NOPERM")
}

// Permit adds to an error for want of rights the command that gives them to the user: such as
// "role" or "sentinel|master".
func Permit(user string, err error, rights ...string) error {
	if user == "" {
		user = defaultUser
	}
	return fmt.Errorf("allow it with \"ACL SETUSER %s +%s\": %w", user, strings.Join(rights, " +"), err)
}

// RefusedCommand is the command, or subcommand, that an error reply says the user may not send;
// empty if it does not say.
func RefusedCommand(err error) string {
	text, _ := wire.ErrorReply(err)
	_, after, _ := strings.Cut(text, "permissions to run the '")
	command, _, ok := strings.Cut(after, "'")
	if !ok {
		return ""
	}
	return strings.ToLower(command)
}

// Needed are the rights that were found to be missing or, if the time was over before one was
// found, the one that the error is about.
func Needed(found []string, err error) []string {
	if len(found) > 0 {
		return found
	}
	return []string{cmp.Or(RefusedCommand(err), "sentinel")}
}

// asksForNone reports whether an error reply to a login with a password alone says that the server
// lets everybody in.
func asksForNone(err error) bool {
	text, ok := wire.ErrorReply(err)
	return ok && (strings.HasPrefix(text, "ERR AUTH <password> called without any password configured") ||
		strings.HasPrefix(text, "ERR Client sent AUTH, but no password is set"))
}

// refusesLogin reports whether a login was refused, rather than a command for want of rights.
func refusesLogin(err error) bool {
	return RefusesCredentials(err) && !RefusesRights(err)
}
