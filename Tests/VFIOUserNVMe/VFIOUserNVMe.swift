// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import VFIOUserServer

/// A server of vfio-user for tests: an NVMe controller whose namespace is a file.
@main
struct VFIOUserNVMe: ServerCommand {
  static let configuration = CommandConfiguration(commandName: "VFIOUserNVMe")

  @OptionGroup var options: ServerOptions
  @Option(help: "The file with the blocks of the namespace. It keeps its size.") var image: String
  @Flag(help: "The client can map the doorbells.") var mappedDoorbells = false
  @Flag(help: "A write to a doorbell executes commands before its reply.") var synchronous = false

  func run() throws {
    let controller = NVMeController(
      try NVMeImage(image), hasMappedDoorbells: mappedDoorbells, isSynchronous: synchronous)
    try options.serve(controller, polls: mappedDoorbells)
  }
}
