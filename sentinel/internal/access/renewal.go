package access

import (
	"context"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/signals"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

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
