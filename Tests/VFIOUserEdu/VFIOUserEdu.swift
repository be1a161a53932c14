// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import VFIOUserServer

extension EduLayout: ExpressibleByArgument {}

/// A server of vfio-user for tests: a device like QEMU's edu.
@main
struct VFIOUserEdu: ServerCommand {
  static let configuration = CommandConfiguration(commandName: "VFIOUserEdu")

  @OptionGroup var options: ServerOptions
  @Option(
    help: "The parts that the client can map: messages (none) or mapped; memory: a large BAR of memory.")
  var layout: EduLayout = .mapped

  func run() throws { try options.serve(EduDevice(layout)) }
}
