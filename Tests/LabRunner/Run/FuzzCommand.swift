// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// A command with a duration and a seed.
protocol SeededCommand: ParsableCommand {
  var seconds: Int { get }
  var seed: Int { get }
}

extension SeededCommand {
  func validate() throws {
    guard seconds > 0, seed > 0 else {
      throw ValidationError("--seconds, --seed: value out of range; use numbers above 0")
    }
  }
}

/// `fuzz guest|image|socket|vfio-user`
struct Fuzz: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run Sluice on random input from a seed. It must not crash.",
    subcommands: [Guest.self, Image.self, Socket.self, VFIOUser.self])

  /// `fuzz guest`
  struct Guest: SeededCommand {
    static let configuration = CommandConfiguration(
      abstract: "Run a guest that accesses ports, configuration space and BARs at random.")

    @Option(help: "The duration in seconds.") var seconds = 20
    @Option(help: "The same seed gives the same accesses of each vCPU.") var seed = 1
    @OptionGroup var host: L1Options

    func run() throws {
      var lab = try Lab()
      try lab.run([GuestFuzz(seconds: seconds, seed: seed).asCase], l1: host.kernel())
      throw ExitCode(lab.report.finish())
    }
  }

  /// `fuzz image`
  struct Image: SeededCommand {
    static let configuration = CommandConfiguration(
      abstract: "Load mutated kernels, initrds and command lines in a child process.")

    @Option(help: "The duration in seconds.") var seconds = 20
    @Option(help: "The same seed gives the same files.") var seed = 1
    @Option(help: "The only iteration to run.") var iteration: UInt64?
    @Option(help: .hidden) var trap: UInt64?

    func run() throws {
      let workspace = Workspace.current
      let memory = URL(filePath: "/dev/shm")
      let parent = memory.exists ? memory : FileManager.default.temporaryDirectory
      let directory = parent.appending(path: "lab-fuzz-\(getpid())")
      try directory.makeDirectory()
      let fuzz = ImageFuzz(
        seconds: seconds, seed: seed, from: iteration ?? 0, isSingle: iteration != nil, trap: trap)
      let files = try ImageFuzz.files(kernels: try kernels(workspace), guests: workspace.guests)
      let result = try fuzz.run(files, in: directory) { printLine("lab: \($0)") }
      printLine("lab: \(result.summary)")
      // The files of a single failed iteration are kept for inspection.
      if isKept(result) {
        printLine("lab: the files of the iteration are in \(directory.path)")
      } else {
        try directory.removeIfPresent()
      }
      if !result.isGood { throw ExitCode(1) }
    }

    private func isKept(_ result: ImageFuzz.Result) -> Bool { iteration != nil && !result.isGood }

    private func kernels(_ workspace: Workspace) throws -> [String] {
      guard workspace.kernels.exists else { return [] }
      let names = try FileManager.default.contentsOfDirectory(atPath: workspace.kernels.path)
      return try names.flatMap { name -> [String] in
        let boot = workspace.kernels.appending(path: "\(name)/boot")
        guard boot.exists else { return [] }
        let files = try FileManager.default.contentsOfDirectory(atPath: boot.path)
        return files.filter { $0.hasPrefix("vmlinuz") }.map { boot.appending(path: $0).path }
      }
    }
  }

  /// `fuzz socket`
  struct Socket: SeededCommand {
    static let configuration = CommandConfiguration(
      abstract: "Run random clients of a VM's control socket, on this machine's /dev/kvm.")

    @Option(help: "The processor time of the clients in seconds.") var seconds = 20
    @Option(help: "The same seed gives the same lines.") var seed = 1

    func run() throws {
      let workspace = Workspace.current
      let directory = FileManager.default.temporaryDirectory.appending(path: "lab-fuzz-\(getpid())")
      try directory.makeDirectory()
      let result = try SocketFuzz(seconds: seconds, seed: seed).run(
        workspace.sluice.path, workspace.guests.appending(path: "watch.elf").path, in: directory
      ) { printLine("lab: \($0)") }
      printLine("lab: \(result)")
      try directory.removeIfPresent()
    }
  }

  /// `fuzz vfio-user`
  struct VFIOUser: SeededCommand {
    static let configuration = CommandConfiguration(
      commandName: "vfio-user",
      abstract: "Send random messages to the client and to the test servers of vfio-user.")

    @Option(help: "The processor time in seconds, for the client and for the servers.") var seconds = 20
    @Option(help: "The same seed gives the same messages.") var seed = 1

    func run() throws {
      let count = try Self.tests(seconds: seconds, seed: seed)
      if count.failed > 0 { throw ExitCode(1) }
    }

    static func tests(seconds: Int, seed: Int) throws -> UnitTests.Count {
      try UnitTests.run(
        only: "(Client|Server)FuzzTests", variables: ["FUZZ_SECONDS=\(seconds)", "FUZZ_SEED=\(seed)"])
    }
  }
}
