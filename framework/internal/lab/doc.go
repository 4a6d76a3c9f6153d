// Package lab joins or makes the cluster that is judged, and removes what it made.
package lab
