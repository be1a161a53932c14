// SPDX-License-Identifier: Apache-2.0

import Linux
import Passthrough
import Seams
import Testing
import VMM

@testable import sluice

@Suite struct ControlMessagesTests {
  private static let device = "0000:01:00.0"

  @Test("an error of a request has the subject, the operation, the cause and the remedy")
  func requests() {
    let messages: [(ControlError, String)] = [
      (
        .tooLong,
        "request: read: longer than 4096 bytes; send one JSON object of at most 4096 bytes per line"
      ),
      (
        .notAnObject,
        "request: read: not a JSON object of strings and numbers; send one JSON object of at most 4096 bytes per line"
      ),
      (
        .noID,
        "request: read: 'id' is neither a string of at most 64 bytes nor a whole number; give 'id' such a value"
      ),
      (
        .noOperation,
        "request: read: 'op' is not a string; give 'op' one of status, events, add, remove, replace, inject, stop"
      ),
      (
        .unknownOperation("halt"),
        "request: read: 'halt' is not an operation; give 'op' one of status, events, add, remove, replace, inject, stop"
      ),
      (.doubledField("op"), "request: read: 'op' is there twice; give the field once"),
      (
        .unknownField("x", .stop),
        "request: stop: 'x' is not a field of this operation; leave the field out"
      ),
      (
        .invalidField(.timeout, .stop),
        "request: stop: 'timeout' is not a number of seconds from 1 to 86400; give a number of seconds, or leave the "
          + "field out"
      ),
      (
        .invalidField(.device, .remove),
        "request: remove: 'device' is neither a PCI address nor vfio-user:PATH; give an address such as 0000:01:00.0"
      ),
      (
        .invalidField(.severity, .inject),
        "request: inject: 'severity' is not one of correctable, non-fatal, fatal; give one of them"
      ),
      (
        .noPort(device: Self.device, .inject),
        "device 0000:01:00.0: inject: not behind a port; start the VM with --device ADDRESS,port"
      ),
      (
        .tooManyClients,
        "control socket: connect: 8 clients are connected; close the connection of another client"
      ),
      (
        .notPermitted,
        "control socket: connect: the client belongs to another user; connect as root or as the user of the VM"
      ),
      (
        .busy(device: Self.device, .remove),
        "device 0000:01:00.0: remove: another operation on it has not ended; try again after the reply to it"
      ),
      (
        .noDevice(Self.device, .remove),
        "device 0000:01:00.0: remove: the VM has no such device; request the status for the devices of the VM"
      ),
      (
        .released(device: Self.device, .remove),
        "device 0000:01:00.0: remove: already released to the host; request the status for the devices of the VM"
      ),
      (
        .failed(FunctionError(device: Self.device, cause: OperationError("unmap: I/O error")), .remove),
        "device 0000:01:00.0: remove: unmap: I/O error; read the messages of 'sluice run'"
      ),
      (.noPorts(.add), "VM: add: it has no ports; start the VM with --ports"),
      (
        .noEmptyPort(device: Self.device, nil),
        "device 0000:01:00.0: add: the VM has no empty port; start the VM with more --ports, or remove a device first"
      ),
      (
        .busyPort(2),
        "port 2: add: the guest has not released its device; try again after the reply to the removal"
      ),
      (
        .descriptorCount(names: 2, sent: 1, .add),
        "request: add: 'files' has 2 names, and the message 1 descriptors; send the line and its descriptors in one message"
      ),
      (
        .refused(Self.device, .host(.alreadyAdded(Self.device)), .add),
        "device 0000:01:00.0: add: the VM has it already; give another device"
      ),
      (
        .halfReplaced(
          Self.device, .function(FunctionError(device: Self.device, cause: OperationError("reset: failed"))),
          left: "0000:02:00.0"),
        "device 0000:01:00.0: replace: reset: failed; 0000:02:00.0 has already left the VM; read the messages of "
          + "'sluice run'"
      ),
      (
        .invalidField(.files, .add),
        "request: add: 'files' is not a list of the names of a device's descriptors; use 'sluice ctl', or give names "
          + "such as 'group.7 devices'"
      ),
      (.ending(.stop), "VM: stop: it has ended; start the VM again"),
    ]
    for (error, message) in messages { #expect(error.message == message) }
  }

  @Test("a problem of the socket has the path, the cause and the remedy")
  func sockets() {
    let messages: [(RunError, String)] = [
      (
        .control(.inUse("/c")),
        "control socket /c: bind: another process listens on it; give another --control, or end that process"
      ),
      (
        .control(.notASocket("/c")),
        "control socket /c: bind: the file is not a socket; give another --control, or remove the file"
      ),
      (
        .control(.notPrivate("/c")),
        "control socket /c: bind: the file system does not limit the socket to its owner; give --control a path on another "
          + "file system, such as /run"
      ),
      (
        .control(.kernel(KernelError("bind /c", .limit))),
        "control socket: bind /c: above a limit of Sluice; give --control a path of at most 107 bytes"
      ),
      (
        .control(.kernel(KernelError("bind /c", errno: KernelError.accessDenied))),
        "control socket: bind /c: Permission denied; check the path of --control and its permissions"
      ),
    ]
    for (error, message) in messages { #expect(error.message == message) }
  }

  @Test("a failure of a client has the remedy")
  func clients() {
    let messages: [(ControlFailure, String)] = [
      (
        .connect(KernelError("connect /c", errno: KernelError.accessDenied)),
        "control socket: connect /c: Permission denied; run the command with sudo, or as the user of the VM"
      ),
      (
        .connect(KernelError("connect /c", errno: KernelError.connectionRefused)),
        "control socket: connect /c: Connection refused; start the VM: no process listens on the socket"
      ),
      (
        .connect(KernelError("connect /c", .limit)),
        "control socket: connect /c: above a limit of Sluice; give the path of the VM's --control"
      ),
      (
        .closed("/c"),
        "control socket /c: read: the VM has closed the connection; connect again, and read the events faster"
      ),
      (
        .malformed("/c"),
        "control socket /c: read: not a line of Sluice; give the path of the VM's --control"
      ),
    ]
    for (failure, message) in messages { #expect(failure.message == message) }
  }
}
