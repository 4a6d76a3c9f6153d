// Package service is the chapter about how the virtual addresses of Services find their endpoints.
package service
