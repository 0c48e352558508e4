package observe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"
)

// The attributes of all log lines. A line names the client, and the endpoint it is about; what went
// wrong is a cause, and a duration is text.
const (
	KeyClient   = "client"
	KeyEndpoint = "endpoint"
	KeyCause    = "cause"
	KeyAfter    = "after" // how long a state has lasted that is over
)

// Logger is what a client logs to: each line names it, and a handler may panic, as with Guard.
// Without a logger nothing is logged.
func Logger(l *slog.Logger, client string) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return Guard(l).With(KeyClient, client)
}

// Cause is the attribute for what went wrong.
func Cause(err error) slog.Attr { return slog.Any(KeyCause, err) }

// Endpoint is the attribute for a server, primary, replica or peer.
func Endpoint(address string) slog.Attr { return slog.String(KeyEndpoint, address) }

// Duration is an attribute in text, such as "171ms": a handler for JSON would write nanoseconds.
func Duration(key string, d time.Duration) slog.Attr {
	switch {
	case d >= time.Minute:
		d = d.Round(time.Second)
	case d >= time.Second:
		d = d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		d = d.Round(100 * time.Microsecond)
	}
	return slog.String(key, d.String())
}

// labelled is an error that knows its label as a cause.
type labelled struct{ label, text string }

func (e *labelled) Error() string { return e.text }

// NewCause is errors.New for what a client itself finds wrong, with the label that it has in
// metrics, such as "timeout": neither its type nor its text says so.
func NewCause(label, text string) error { return &labelled{label, text} }

// CauseLabel names the kind of an error for a metric, of a score: its text may have an address in
// it that differs each time, and each would be a series.
func CauseLabel(err error) string {
	var dns *net.DNSError
	var known *labelled
	switch {
	case err == nil:
		return ""
	case errors.As(err, &known):
		return known.label
	case errors.As(err, &dns):
		return "name not resolved"
	case IsRefused(err):
		return "connection refused"
	case IsReset(err):
		return "connection reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, wsaNetUnreachable), errors.Is(err, wsaHostUnreachable):
		return "unreachable"
	case IsShortage(err):
		return "no more connections"
	case errors.Is(err, fs.ErrNotExist):
		return "no such file"
	case errors.Is(err, fs.ErrPermission):
		return "permission denied"
	case isTLS(err):
		return "tls"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "connection closed"
	case IsTimeout(err):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "error"
}

// IsTimeout reports whether an error says that there was no answer in time.
func IsTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// The numbers that sockets of Windows give, unlike those that its package syscall names ECONNRESET
// and so on (https://learn.microsoft.com/windows/win32/winsock/windows-sockets-error-codes-2). No
// other system has errors of these numbers.
const (
	wsaTooManyFiles     = syscall.Errno(10024)
	wsaAddrNotAvailable = syscall.Errno(10049)
	wsaNetUnreachable   = syscall.Errno(10051)
	wsaConnAborted      = syscall.Errno(10053)
	wsaConnReset        = syscall.Errno(10054)
	wsaNoBuffers        = syscall.Errno(10055)
	wsaConnRefused      = syscall.Errno(10061)
	wsaHostUnreachable  = syscall.Errno(10065)
)

// IsRefused reports whether nobody listens where a connection was asked for.
func IsRefused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, wsaConnRefused)
}

// IsReset reports whether the other side has broken a connection off.
func IsReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, wsaConnReset) || errors.Is(err, wsaConnAborted)
}

// IsShortage reports whether this machine has no files, ports or memory left for a connection. That
// says nothing about the other side.
func IsShortage(err error) bool {
	for _, local := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM,
		wsaTooManyFiles, wsaAddrNotAvailable, wsaNoBuffers,
	} {
		if errors.Is(err, local) {
			return true
		}
	}
	return false
}

// isTLS reports whether two sides do not agree on how to be sure of each other: a certificate has
// expired, say, or one of them does not speak TLS.
func isTLS(err error) bool {
	var unverified *tls.CertificateVerificationError
	var alert tls.AlertError
	var plain tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var other x509.HostnameError
	return errors.As(err, &unverified) || errors.As(err, &alert) || errors.As(err, &plain) ||
		errors.As(err, &unknown) || errors.As(err, &invalid) || errors.As(err, &other)
}
