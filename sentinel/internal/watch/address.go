package watch

import (
	"errors"
	"fmt"
	"net"
	"strconv"
)

// CheckAddr says why a host:port cannot be one.
func CheckAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err == nil && host == "" {
		err = errors.New("the host is missing")
	}
	if err == nil {
		if n, convErr := strconv.Atoi(port); convErr != nil || n < 1 || n > 65535 {
			err = errors.New("the port is not a number from 1 to 65535")
		}
	}
	if err != nil {
		return fmt.Errorf("address %q: %w; write host:port, or [host]:port for IPv6", addr, err)
	}
	return nil
}
