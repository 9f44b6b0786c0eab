package provider

import (
	"net"
	"net/url"
	"strings"
)

// Local reports whether an address is of a server of one's own, on this machine or a
// private network: one that takes as many calls at a time as its memory allows, and has
// the others wait. Hosted APIs refuse them.
func Local(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return false
	}
	host := u.Hostname()
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast()
	}
	return !strings.Contains(host, ".") || strings.HasSuffix(host, ".local") || strings.HasSuffix(host, ".internal") || strings.HasSuffix(host, ".localhost")
}
