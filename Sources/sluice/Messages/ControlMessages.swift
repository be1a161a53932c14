// SPDX-License-Identifier: Apache-2.0

import Linux
import VMM

extension ControlError: AdvisedError {
  /// The next step for the client.
  var remedy: String? { advice }

  /// The next step for the client, which every reply with an error has.
  var advice: String {
    switch self {
    case .tooLong, .notAnObject:
      "send one JSON object of at most \(ControlRequest.maxSize) bytes per line"
    case .noID: "give 'id' such a value"
    case .noOperation, .unknownOperation:
      "give 'op' one of \(ControlRequest.Verb.allCases.map(\.rawValue).joined(separator: ", "))"
    case .doubledField: "give the field once"
    case .unknownField: "leave the field out"
    case .invalidField(.timeout, _): "give a number of seconds, or leave the field out"
    case .invalidField(.severity, _): "give one of them"
    case .invalidField(.port, _): "give the number of a port of the status, or leave the field out"
    case .invalidField(.files, _): "use 'sluice ctl', or give names such as 'group.7 devices'"
    case .invalidField(.barMap, _): "give on-fault, on-enable or eager"
    case .invalidField(.peerDMA, _): "give on-fault, on-enable, eager or off"
    case .invalidField(.memoryBit, _): "give forward or shadow"
    case .invalidField(.token, _): "give one such as 2ab74924-c335-45f4-9b16-8569e5b08258"
    case .invalidField: "give an address such as 0000:01:00.0"
    case .tooManyClients: "close the connection of another client"
    case .notPermitted: "connect as root or as the user of the VM"
    case .busy: "try again after the reply to it"
    case .noDevice, .released: "request the status for the devices of the VM"
    case .noPort: "start the VM with --device ADDRESS,port"
    case .noPorts: "start the VM with --ports"
    case .noEmptyPort: "start the VM with more --ports, or remove a device first"
    case .busyPort: "try again after the reply to the removal"
    case .descriptorCount: "send the line and its descriptors in one message"
    case .refused(_, let error, _), .halfReplaced(_, let error, _):
      error.remedy ?? "read the messages of 'sluice run'"
    case .failed: "read the messages of 'sluice run'"
    case .ending: "start the VM again"
    }
  }
}

extension ControlProblem: AdvisedError {
  /// The next step for the user.
  var remedy: String? {
    switch self {
    case .inUse: "give another --control, or end that process"
    case .notASocket: "give another --control, or remove the file"
    case .notPrivate: "give --control a path on another file system, such as /run"
    case .kernel(let error) where error.cause == .limit: "give --control a path of at most 107 bytes"
    case .kernel: "check the path of --control and its permissions"
    }
  }
}

extension ControlFailure: AdvisedError {
  /// The next step for the user.
  var remedy: String? {
    switch self {
    case .connect(let error) where error.isPermission: "run the command with sudo, or as the user of the VM"
    case .connect(let error) where error.errno == KernelError.connectionRefused:
      "start the VM: no process listens on the socket"
    case .connect, .malformed: "give the path of the VM's --control"
    case .closed: "connect again, and read the events faster"
    }
  }
}
