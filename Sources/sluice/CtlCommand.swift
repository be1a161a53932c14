// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Linux
import PCI
import Trace
import VMM

/// `sluice ctl`.
struct CtlCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ctl",
    abstract: "Send a request to a running VM through its control socket.",
    usage:
      "sluice ctl [<options>] <path> status|events|add <address>|remove <address>|replace <address> [<address>]|inject <address>|stop",
    discussion: """
      OPERATIONS:
        status    print the state of the VM and of its devices
        events    print the events of the VM as they happen, until it ends
        add       open a device and add it to an empty port, or to the port of --port
        remove    remove a device from the guest and return it to the host; with --timeout 0 a
                  device behind a port leaves by surprise
        replace   remove a device behind a port, and put the second device into the port; with
                  one address, the same device is opened again
        inject    report an error of a device behind a port to the guest, as if the host
                  had reported it, with the severity of --severity
        stop      end the VM: at once, or with --timeout by its power button

      EXAMPLES:
        sluice ctl /run/web/control status
        sudo sluice ctl --bind /run/web/control add 0000:01:00.0
        sluice ctl /run/web/control remove 0000:01:00.0
        sluice ctl /run/web/control stop --timeout 60
      """)

  @Argument(help: ArgumentHelp("The socket of the VM: --control of 'sluice run'.", valueName: "path"))
  var path: String?

  @Argument(help: ArgumentHelp("The operation.", valueName: "operation"))
  var operation: String?

  @Argument(
    help: ArgumentHelp(
      "The device, by its PCI address on the host. 'add' accepts the options of --device of 'sluice run'.",
      valueName: "address"),
    transform: DeviceArgument.init)
  var device: DeviceArgument?

  @Argument(
    help: ArgumentHelp(
      "The device that replaces it, as for 'add' (default: the same device).", valueName: "replacement"),
    transform: DeviceArgument.init)
  var replacement: DeviceArgument?

  @Option(
    help: ArgumentHelp(
      "The port for 'add', by its device number on the guest's root bus (default: the first empty port).",
      valueName: "number"))
  var port: UInt8?

  @Flag(help: "Let 'add' and 'replace' bind the device to vfio-pci first, as 'sluice bind' does.")
  var bind = false

  @Option(
    help: ArgumentHelp(
      "The time for the guest: 'stop' presses the power button, and ends the VM only if the guest has not powered off "
        + "within this time (default: the VM ends at once). 'remove' takes a device behind a port without the guest's consent "
        + "after this time, with 0 at once (default: 10).", valueName: "seconds"),
    transform: StopTimeoutArgument.orZero)
  var timeout: Int?

  @Option(
    help: ArgumentHelp(
      "The severity of the error of 'inject' (default: fatal).", valueName: "correctable|non-fatal|fatal"),
    transform: Self.severity)
  var severity = InjectedError.fatal

  @Flag(help: "Print the lines of the VM unchanged: one JSON object per line.")
  var json = false

  private static func severity(_ argument: String) throws -> InjectedError {
    guard let error = InjectedError(rawValue: argument) else {
      let names = InjectedError.allCases.map(\.rawValue).joined(separator: ", ")
      throw ValidationError("--severity: '\(argument)' is not a severity; give one of \(names)")
    }
    return error
  }

  func run() throws {
    let path = try required(path, "path: none; give the path of the VM's --control")
    let verb = try verb()
    let request = try CtlRequest(self, verb)
    var socket = try ControlConnection(path)
    let reply = try request.perform(&socket)
    if json { try Self.write(reply.line) }
    if let message = reply.error { throw CommandFailure(message) }
    if !json { try Self.write(reply.text(for: verb, timeout: timeout)) }
    if verb == .events { try printEvents(&socket) }
  }

  /// Returns the operation.
  func verb() throws -> ControlRequest.Verb {
    let names = ControlRequest.Verb.allCases.map(\.rawValue).joined(separator: ", ")
    let name = try required(operation, "operation: none; give one of \(names)")
    guard let verb = ControlRequest.Verb(rawValue: name) else {
      throw ValidationError("operation: '\(name)' is not an operation; give one of \(names)")
    }
    return verb
  }

  /// Prints events until the VM ends.
  private func printEvents(_ socket: inout ControlConnection) throws {
    var hasEnded = false
    while let line = try socket.line() {
      if let record = TraceRecord(line[...]), record.event == .phase(name: "devices-handed-back") {
        hasEnded = true
      }
      try Self.write(json ? line : ControlConnection.Reply.text(ofEvent: line))
    }
    guard hasEnded else { throw CommandFailure(ControlFailure.closed(socket.path).message) }
  }

  /// Writes a line to standard output at once.
  private static func write(_ line: String) throws {
    do throws(KernelError) { try OwnedDescriptor(duplicating: 1).write(Array("\(line)\n".utf8)) } catch {
      throw CommandFailure("standard output: \(error)")
    }
  }
}
