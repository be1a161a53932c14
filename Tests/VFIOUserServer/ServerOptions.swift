// SPDX-License-Identifier: Apache-2.0

package import ArgumentParser
import Linux
import VFIOUser

/// The options of every server.
package struct ServerOptions: ParsableArguments {
  @Option(help: "The path of the socket. A socket on which another process listens is an error (status 2).")
  package var socket: String
  @Option(help: "A file of rules 'at N: FAULT', 'every N: FAULT' or 'rate P: FAULT', one per line.")
  package var faults: String?
  @Option(help: "The seed of the rules with a rate.") package var seed: UInt64 = 1
  @Flag(help: "Offer a second socket for the server's commands.") package var twinSocket = false
  @Flag(help: "Access the client's memory by messages, even if it sends a descriptor.")
  package var messages = false
  @Flag(
    help: "Refuse what libvfio-user refuses: parts of COMMAND and STATUS, Parity Error Response, the PBA.")
  package var strict = false
  @Option(help: "The maximum number of descriptors of a message to the server, 1 to 16.")
  package var descriptors = 8
  @Flag(help: "Load no seccomp filter.") package var unconfined = false

  /// Creates the options.
  package init() {}

  /// Checks the options.
  package func validate() throws {
    guard 1...16 ~= descriptors else { throw ValidationError("--descriptors \(descriptors): write 1 to 16") }
  }

  /// Serves a device until a signal ends the process.
  ///
  /// - Parameters:
  ///   - logic: The device.
  ///   - polls: True if the client can change mapped registers without a message.
  package func serve<Logic: DeviceLogic>(_ logic: Logic, polls: Bool = false) throws {
    var settings = Session<Logic>.Settings()
    settings.offersTwinSocket = twinSocket
    settings.ignoresDescriptors = messages
    settings.isStrict = strict
    settings.messageDescriptors = descriptors
    let injector = FaultInjector(try plan(), seed: seed)
    let server = try Server(path: socket, ServedFunction(logic), settings, injector, polls: polls)
    if !unconfined { try ServerConfinement.enter() }
    try server.run()
  }

  private func plan() throws -> FaultPlan {
    guard let faults else { return try FaultPlan("") }
    let file = try OwnedDescriptor(opening: faults, .read)
    let text = try file.read(1 << 16, at: 0)
    do throws(FaultPlan.InvalidLine) { return try FaultPlan(String(decoding: text, as: UTF8.self)) } catch {
      throw ValidationError("--faults \(faults): \(error)")
    }
  }
}
