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
      "sluice ctl [--json] <path> status|events|remove <address>|inject <address> [--severity <severity>]|stop [--timeout <seconds>]",
    discussion: """
      OPERATIONS:
        status    print the state of the VM and of its devices
        events    print the events of the VM as they happen, until it ends
        remove    remove a device from the guest and return it to the host
        inject    report an error of a device behind a port to the guest, as if the host
                  had reported it, with the severity of --severity
        stop      end the VM: at once, or with --timeout by its power button

      EXAMPLES:
        sluice ctl /run/web/control status
        sluice ctl /run/web/control remove 0000:01:00.0
        sluice ctl /run/web/control stop --timeout 60
      """)

  @Argument(help: ArgumentHelp("The socket of the VM: --control of 'sluice run'.", valueName: "path"))
  var path: String?

  @Argument(help: ArgumentHelp("The operation.", valueName: "operation"))
  var operation: String?

  @Argument(
    help: ArgumentHelp(
      "The device of 'remove' and 'inject', by its PCI address on the host.", valueName: "address"),
    transform: DeviceArgument.init)
  var device: DeviceArgument?

  @Option(
    help: ArgumentHelp(
      "Let 'stop' press the guest's power button, and end the VM only if the guest has not powered off within this time "
        + "(default: the VM ends at once).", valueName: "seconds"),
    transform: StopTimeoutArgument.seconds)
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
    let (verb, line) = try request()
    var socket = try ControlConnection(path)
    try socket.send(line)
    let reply = try socket.reply()
    if json { try Self.write(reply.line) }
    if let message = reply.error { throw CommandFailure(message) }
    if !json { try Self.write(reply.text(for: verb, timeout: timeout)) }
    if verb == .events { try printEvents(&socket) }
  }

  /// Returns the operation and its request.
  func request() throws -> (ControlRequest.Verb, String) {
    let names = ControlRequest.Verb.allCases.map(\.rawValue).joined(separator: ", ")
    let name = try required(operation, "operation: none; give one of \(names)")
    guard let verb = ControlRequest.Verb(rawValue: name) else {
      throw ValidationError("operation: '\(name)' is not an operation; give one of \(names)")
    }
    var line = "{\"id\":1,\"op\":\"\(verb.rawValue)\""
    if verb == .remove || verb == .inject {
      let device = try required(device, "device: no PCI address; give one such as 0000:01:00.0")
      line += ",\"device\":\(JSON.quote(device.address.description))"
      if verb == .inject { line += ",\"severity\":\"\(severity.rawValue)\"" }
    } else if device != nil {
      throw ValidationError("address: '\(name)' has no device; leave the address out")
    }
    if let timeout {
      guard verb == .stop else {
        throw ValidationError("--timeout: '\(name)' has no timeout; leave --timeout out")
      }
      line += ",\"timeout\":\(timeout)"
    }
    return (verb, line + "}\n")
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
