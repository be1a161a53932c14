// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Linux
import Logging
import PCI
import Sandbox
import Trace
import VMM

/// `sluice run`.
struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Boot a kernel in a virtual machine with devices of this host.",
    discussion: """
      Standard input and output are the guest's serial port COM1. On a terminal,
      Ctrl-A x ends the VM, and Ctrl-A Ctrl-A sends Ctrl-A to the guest.
      'sluice --help' lists the exit statuses.

      DEVICE OPTIONS, after the address in --device:
        bar-map=POLICY   When to map a window (a piece of a BAR) for the guest's
                         CPUs. Earlier accesses to the window are trapped.
          on-fault         at the guest's first access to the window (default):
                           starts fastest and exposes least
          on-enable        when the guest enables the device's memory: choose it if
                           a driver's first access must not cost an exit
          eager            like on-enable, and at once after the guest moves a BAR:
                           choose it to compare with monitors that always map
        peer-dma=POLICY  When to map a window for other devices of the VM.
                         peer-dma=POLICY@ADDRESS sets the policy for one of them.
                         Devices that may reach different windows get separate
                         I/O address spaces, each with a mapping of guest RAM.
          on-fault         after the guest's first access to the window (default):
                           earlier DMA to the window causes an IOMMU fault
          on-enable        when the guest enables the device's memory: choose it if
                           peers use memory that no CPU touches
          eager            like on-enable, and at once after the guest moves a BAR:
                           choose it if peers run while a driver moves BARs
          off              never: choose it for devices that must not trust each
                           other
        memory-bit=MODE  How to handle the guest's memory-enable bit.
          forward          write it to the device (default): a driver under test
                           expects this
          shadow           keep the device's bit set, and let the guest's bit only
                           map and unmap: choose it if the device fails when its
                           bit is cleared
        vf-token=UUID    The VF token set by the owner of the physical function
                         (default: none). A virtual function needs it if its
                         physical function is also used through VFIO.
        port             Put the device behind a separate PCI Express root port, so
                         that the guest can remove and reset it, and learns of its
                         errors (default: the device is on the root bus).
        reconnect=SECONDS
                         Connect to the process of a device vfio-user:PATH again
                         after its end, with this time between attempts, and put
                         the device into its port (default: never). Needs 'port'.
        A device vfio-user:PATH has no peer-dma= and no vf-token=.

      MEMORY OPTIONS, after the size in --memory:
        hugepages=KIND   The pages of guest RAM. The default is thp, or 4 KiB
                         pages if the host has transparent huge pages turned off.
          2M, 1G           pages of the host's huge page pool, reserved before the
                           start: fewest TLB misses and smallest IOMMU tables, but
                           an error if the pool has too few
          thp              transparent huge pages as far as the host finds some:
                           needs no reservation, but is an error if the host has
                           them turned off
          off              shared memory in 4 KiB pages: choose it if the host must
                           not spend a huge page on the few bytes that a guest
                           without devices touches
        prealloc         Populate all pages while the guest starts, with several
                         threads (default: populate each page at its first use).
                         Choose it if the guest must not wait for memory later.
                         Guests with devices always have all pages populated.
        shared           Allocate shared memory, so that 'sluice ctl PATH add' can
                         add a device vfio-user:PATH (default: only a VM that is
                         started with such a device has shared memory).
        node=N           Allocate guest RAM on NUMA node N of the host (default:
                         any node). Choose the device's node, which is in
                         /sys/bus/pci/devices/ADDRESS/numa_node, and keep the
                         vCPUs on that node with --cpu-pin.

      DESCRIPTORS, in --fd, and in LISTEN_FDNAMES as 'sluice open' sets it:
        kvm, iommu, container, container.N, group.N, device.0000-01-00.0, vfio-user,
        vfio-user.N, devices, kernel, initrd, trace, console, notify, control. With
        'devices', the VM opens no device itself.

      LAYERS, in --sandbox. Without an option, the VM starts without a layer that the
      kernel lacks, and --summary names the cause. 'no-LAYER' leaves a layer out for
      debugging. 'LAYER' makes its absence an error.
        namespaces       own namespaces and an empty root directory
        capabilities     no capability
        no_new_privs     execve() adds no privileges; landlock and seccomp need it
        landlock         no file can be opened
        seccomp          a table of system calls for each kind of thread

      EXAMPLES:
        sluice run --kernel vmlinuz --initrd initrd --memory 2G --cpus 4 \\
          --append 'console=ttyS0 panic=1' \\
          --device 0000:01:00.0 --device 0000:02:00.0
        sluice run --kernel vmlinuz --memory 64G,hugepages=1G,prealloc,node=1 \\
          --cpus 2 --cpu-pin 0:32,1:33 --device 0000:81:00.0
        sluice run --kernel guest.elf --debug-exit --device 01:00.0 \\
          --trace trace.json --summary
      """)

  @Option(
    help: ArgumentHelp(
      "Read options from a file. Each line has the long name of an option without dashes, and its value after a space. An "
        + "option of the command line replaces an option of the file (default: none).", valueName: "file"))
  var config: String?

  @Option(
    help: ArgumentHelp(
      "The kernel to boot (required): a bzImage (boot protocol 2.12 or newer), a 64-bit ELF file with a PVH "
        + "note, or a multiboot (version 1) kernel.",
      valueName: "file"))
  var kernel: String?

  @Option(
    help: ArgumentHelp(
      "The initial RAM disk, or the module of a multiboot kernel (default: none).", valueName: "file"))
  var initrd: String?

  @Option(help: ArgumentHelp("The kernel command line (default: empty).", valueName: "text"))
  var append = ""

  @Option(
    help: ArgumentHelp(
      "The size of guest RAM in MiB, or with K, M, G or T, at least 2M (default: 512M). See MEMORY OPTIONS "
        + "for the options.",
      valueName: "size[,option...]"),
    transform: MemoryArgument.init)
  var memory = MemoryArgument()

  @Option(help: ArgumentHelp("The number of vCPUs, 1 to 255", valueName: "count"))
  var cpus = 1

  @Option(
    help: ArgumentHelp(
      "Keep each of these vCPUs on one host processor, by its number in 'lscpu -e' (default: any processor).",
      valueName: "vcpu:cpu,..."),
    transform: CPUPinArgument.init)
  var cpuPin = CPUPinArgument()

  @Option(
    name: .customLong("device"),
    help: ArgumentHelp(
      "Pass a host device through, by its PCI address, or a device of another process, by vfio-user: and the path of its "
        + "socket. A host device must be bound to vfio-pci. See DEVICE OPTIONS for the options. Repeat --device for up to 31 "
        + "devices (default: none).",
      valueName: "address[,option=value...]"),
    transform: DeviceArgument.init)
  var devices: [DeviceArgument] = []

  @Option(help: ArgumentHelp("The number of PCI Express root ports without a device", valueName: "count"))
  var ports = 0

  @Option(
    help: ArgumentHelp(
      "The sizes of each port's memory windows, below and above 4 GiB: powers of two of at least 1M, in MiB or with K, M, "
        + "G or T (default: 16M,64G, or less above 4 GiB if that does not fit).", valueName: "size,size"),
    transform: PortWindowArgument.init)
  var portWindow: PortWindowArgument?

  @Option(
    help: ArgumentHelp(
      "The kernel's interface to the IOMMU. 'auto' takes iommufd if it offers all that the devices need, else type1. The "
        + "summary and the trace have the choice and its reason",
      valueName: "auto|iommufd|type1"))
  var iommu: IOMMUArgument = .auto

  @Option(
    help: ArgumentHelp(
      "Write one JSON object per line for each event of the VM and its devices (default: no trace). Draw the "
        + "file with 'sluice timeline'.", valueName: "file"))
  var trace: String?

  @Option(
    help: ArgumentHelp(
      "Create a socket for requests to the running VM, with mode 0600 (default: none). 'sluice ctl' is its client. A socket "
        + "on which no process listens is replaced.", valueName: "path"))
  var control: String?

  @Option(
    name: .customLong("fd"),
    help: ArgumentHelp(
      "Take a file that the parent process has opened as a descriptor. See DESCRIPTORS for the names. Repeat --fd for more "
        + "descriptors (default: none).", valueName: "name=number"),
    transform: DescriptorArgument.init)
  var descriptors: [DescriptorArgument] = []

  @Flag(help: "Print device counters and the times of the phases, in ms, to standard error at the end.")
  var summary = false

  @Flag(
    help: "End with exit status 2V+1 when the guest writes V to port 0xf4. All other statuses are then even.")
  var debugExit = false

  @Option(
    help: ArgumentHelp(
      "After SIGTERM, press the guest's power button, and end the VM only if the guest has not powered off within this "
        + "time. A second signal ends the VM at once (default: SIGTERM ends the VM at once).",
      valueName: "seconds"),
    transform: StopTimeoutArgument.seconds)
  var stopTimeout: Int?

  @Flag(help: "Show VMX or SVM to the guest, so that it can run virtual machines itself (default: hidden).")
  var nested = false

  @Option(
    help: ArgumentHelp(
      "The layers of confinement: 'on' for all that the kernel has, 'off' for none, or a list. See LAYERS "
        + "(default: on).",
      valueName: "on|off|[no-]layer,..."),
    transform: SandboxArgument.init)
  var sandbox = SandboxArgument()

  @Flag(
    help:
      "Print the layers of confinement and the system calls of each kind of thread, with reasons, and exit.")
  var printSeccomp = false

  /// `--iommu`.
  enum IOMMUArgument: String, ExpressibleByArgument {
    case auto, iommufd, type1

    /// The requested interface, or nil for an automatic choice.
    var interface: IOMMUInterface? { IOMMUInterface(rawValue: rawValue) }
  }

  func configuration(_ files: HostFiles = HostFiles()) throws -> Configuration {
    var configuration = Configuration(
      kernel: files.has(.kernel) ? kernel : try required(kernel, "--kernel: no file; give the kernel"))
    configuration.initrd = initrd
    configuration.commandLine = append
    configuration.memory = memory.bytes
    configuration.backing = memory.backing
    configuration.memoryNode = memory.node
    configuration.sharesMemory = memory.isShared
    configuration.isPreallocated = memory.isPreallocated
    configuration.cpus = cpus
    configuration.cpuPins = cpuPin.pins
    configuration.devices = devices.map(\.assigned)
    configuration.emptyPorts = ports
    configuration.portWindow = portWindow?.size
    configuration.iommu = iommu.interface
    configuration.trace = trace
    configuration.control = control
    configuration.printsSummary = summary
    configuration.hasDebugExit = debugExit
    configuration.layers = sandbox.layers
    configuration.isNested = nested
    configuration.stopTimeout = stopTimeout
    if let problem = configuration.usageProblem { throw ValidationError(problem.message) }
    return configuration
  }

  // This command has no validate(), because the parser calls it before it reports an unknown option.
  mutating func run() throws {
    if printSeccomp {
      print(
        Rule.describe(
          Rule.machine(
            iommu.interface ?? .type1,
            hasServers: memory.isShared || devices.contains { $0.address.path != nil }),
          sandbox.layers, hasConnector: devices.contains { $0.reconnect != nil }), terminator: "")
      return
    }
    let files = try HostFiles.passed(descriptors)
    let configuration = try self.configuration(files)
    try files.require(for: configuration)
    let start = Clock.programStart()
    do throws(KernelError) {
      try InheritedDescriptors.close(except: configuration.files, files.numbers)
    } catch {
      throw failure(error.description)
    }
    let log = Logger(label: "sluice") { _ in ErrorStreamHandler() }
    let outcome: Outcome
    do throws(RunError) {
      let session = try VMSession(
        configuration, files: files, log: log, start: start, remedy: { $0.remedy }, advice: { $0.advice })
      outcome = try session.run { failure in log.error("\(failure.message)") }
    } catch {
      if case .control(let problem) = error, problem.isUsage {
        throw CommandFailure(problem.message, status: 2)
      }
      throw failure(error.message)
    }
    if case .failure(let cause) = outcome { throw failure(cause.message) }
    endProcess(outcome.exitStatus(hasDebugExit: debugExit))
  }

  private func failure(_ cause: String) -> CommandFailure {
    CommandFailure(cause, status: Outcome.failureStatus(hasDebugExit: debugExit))
  }
}
